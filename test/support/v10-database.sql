-- A database of Maestro v10, written by hand from `management.md` 5.1 and 3.2. Load it into an empty schema `public`.
-- v10 makes its ids with uuid-ossp; the built-in function spares the extension.

CREATE TABLE public.schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL);
INSERT INTO public.schema_migrations VALUES (7, false);

CREATE TABLE public.schedulers (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name varchar(255) NOT NULL,
  game varchar(255) NOT NULL,
  yaml text NOT NULL,
  state text NOT NULL,
  state_last_changed_at integer NOT NULL DEFAULT 0,
  last_scale_op_at integer NOT NULL DEFAULT 0,
  created_at timestamptz DEFAULT now(),
  updated_at timestamptz,
  version varchar(255)
);
CREATE UNIQUE INDEX schedulers_name_unique ON public.schedulers (name);
CREATE INDEX scheduler_name ON public.schedulers (name);

CREATE TABLE public.scheduler_versions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name varchar(255) NOT NULL REFERENCES public.schedulers (name) ON DELETE CASCADE,
  version varchar(255) NOT NULL,
  yaml text,
  created_at timestamptz DEFAULT now(),
  rolling_update_status varchar(255),
  rollback_version varchar(255)
);
CREATE UNIQUE INDEX scheduler_versions_unique ON public.scheduler_versions (name, version);

CREATE TABLE public.users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text NOT NULL, access_token text NOT NULL);

-- A fleet that was made and never changed ------------------------------------------------------------------------------

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
VALUES ('simple', 'chess', 'in-sync', 'v1.0.0', '2023-02-01T08:00:00.123456Z', $yaml$
TerminationGracePeriod: 100000000000
Toleration: ""
Affinity: ""
Containers:
- Name: game
  Image: registry.example.com/chess:1
  ImagePullPolicy: Always
  Command: []
  Environment: []
  Requests:
    Memory: 20Mi
    CPU: 10m
  Limits:
    Memory: 20Mi
    CPU: 10m
  Ports:
  - Name: tcp
    Protocol: tcp
    Port: 80
    HostPortRange: null
    HostPort: 0
PortRange:
  Start: 40000
  End: 60000
MaxSurge: "10"
RoomsReplicas: 2
Forwarders: []
Autoscaling: null
Annotations: {}
Labels: {}
LastDownscaleAt: 0001-01-01T00:00:00Z
MatchAllocation:
  MaxMatches: 1
$yaml$);
INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
SELECT name, version, yaml, '2023-02-01T08:00:00.223456Z' FROM public.schedulers WHERE name = 'simple';

-- Every field that there is; v1.1.0 (minor), v2.0.0 (major), and back to v1.1.0 ------------------------------------------

INSERT INTO public.schedulers (name, game, state, version, created_at, updated_at, yaml)
VALUES ('everything', 'go', 'in-sync', 'v1.1.0', '2023-03-01T08:00:00Z', '2024-06-02T12:00:00Z', $yaml$
TerminationGracePeriod: 1500000000
Toleration: gpu
Affinity: zone-a
Containers:
- Name: game
  Image: registry.example.com/go:1.7
  ImagePullPolicy: IfNotPresent
  Command:
  - ./server
  - --motd=hello "world"
  - |
    two
    lines
  Environment:
  - Name: PLAIN
    Value: "yes"
    ValueFrom: null
  - Name: NUMBER
    Value: "007"
    ValueFrom: null
  - Name: EMPTY
    Value: ""
    ValueFrom: null
  - Name: HOST_IP
    Value: ""
    ValueFrom:
      FieldRef:
        fieldPath: status.hostIP
      SecretKeyRef: null
  - Name: TOKEN
    Value: ""
    ValueFrom:
      FieldRef: null
      SecretKeyRef:
        name: go-secrets
        key: token
  Requests:
    Memory: 512Mi
    CPU: 250m
  Limits:
    Memory: 1Gi
    CPU: "1"
  Ports:
  - Name: client
    Protocol: udp
    Port: 7777
    HostPortRange:
      Start: 30000
      End: 30999
    HostPort: 0
  - Name: admin
    Protocol: tcp
    Port: 8888
    HostPortRange:
      Start: 31000
      End: 31999
    HostPort: 31234
- Name: sidecar
  Image: registry.example.com/metrics:3
  ImagePullPolicy: Never
  Command: null
  Environment: null
  Requests:
    Memory: 64Mi
    CPU: 20m
  Limits:
    Memory: 64Mi
    CPU: 20m
  Ports: null
PortRange: null
MaxSurge: 25%
RoomsReplicas: 6
Forwarders:
- Name: matchmaker
  Enabled: true
  ForwardType: gRPC
  Address: matchmaker:5000
  Options:
    Timeout: 500
    Metadata:
      roomType: ranked
      ratio: 0.5
      regions:
      - sa
      - eu
      nested:
        deep: true
        nothing: null
- Name: analytics
  Enabled: false
  ForwardType: gRPC
  Address: analytics:5000
  Options: null
Autoscaling:
  Enabled: true
  Min: 2
  Max: -1
  Cooldown: 60
  Policy:
    Type: roomOccupancy
    Parameters:
      RoomOccupancy:
        ReadyTarget: 0.30000001192092896
        DownThreshold: 0.9900000095367432
      FixedBuffer: null
Annotations:
  imageregistry: https://hub.docker.com/
  example.com/owner: "team: go"
Labels:
  app: go
  "true": "false"
LastDownscaleAt: 2024-06-02T11:59:58.123456789-03:00
MatchAllocation:
  MaxMatches: 4
$yaml$);
INSERT INTO public.scheduler_versions (name, version, rollback_version, created_at, yaml)
SELECT name, v.version, v.rollback_version, v.created_at, replace(yaml, v.of, v.becomes)
FROM public.schedulers,
  (VALUES ('v1.0.0', NULL, timestamptz '2023-03-01T08:00:01Z', 'RoomsReplicas: 6', 'RoomsReplicas: 3'),
          ('v1.1.0', 'v1.0.0', timestamptz '2023-04-01T08:00:00Z', '', ''),
          ('v2.0.0', 'v1.1.0', timestamptz '2024-05-01T10:00:00.123456Z', 'go:1.7', 'go:2.0'))
    AS v (version, rollback_version, created_at, of, becomes)
WHERE name = 'everything';

-- The other policy ------------------------------------------------------------------------------------------------------

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'buffered', game, state, version, '2023-02-02T08:00:00Z', replace(yaml, 'Autoscaling: null', $yaml$Autoscaling:
  Enabled: false
  Min: 1
  Max: 10
  Cooldown: 0
  Policy:
    Type: fixedBuffer
    Parameters:
      RoomOccupancy: null
      FixedBuffer:
        Amount: 3$yaml$)
FROM public.schedulers WHERE name = 'simple';
INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
SELECT name, version, yaml, created_at FROM public.schedulers WHERE name = 'buffered';

-- Made by an early v10 (no match allocation, no cooldown, no threshold, nil for empty), and left in the middle of a change --

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
VALUES ('old-row', 'chess', 'creating', 'v1.0.0', '2022-01-01T00:00:00Z', $yaml$
TerminationGracePeriod: 15
Toleration: ""
Affinity: ""
Containers:
- Name: game
  Image: chess:0
  ImagePullPolicy: Always
  Command: null
  Environment: null
  Requests: {Memory: 20Mi, CPU: 10m}
  Limits: {Memory: 20Mi, CPU: 10m}
  Ports: null
PortRange: {Start: 1, End: 2}
MaxSurge: 10%
RoomsReplicas: 0
Forwarders: null
Autoscaling:
  Enabled: true
  Min: 1
  Max: 2
  Policy: {Type: roomOccupancy, Parameters: {RoomOccupancy: {ReadyTarget: 0.5}}}
Annotations: null
Labels: null
LastDownscaleAt: 0001-01-01T00:00:00Z
$yaml$);
INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
SELECT name, version, yaml, created_at FROM public.schedulers WHERE name = 'old-row';

-- What v10 accepts and we refuse: it runs ----------------------------------------------------------------------------------

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'lenient', game, state, 'v1.1.0', created_at, replace(yaml, '"10"', '0%')
FROM public.schedulers WHERE name = 'simple';
INSERT INTO public.scheduler_versions (name, version, rollback_version, yaml, created_at)
SELECT name, 'v1.1.0', 'v1.0.0', yaml, '2023-02-03T00:00:00Z' FROM public.schedulers WHERE name = 'lenient'
UNION ALL
SELECT name, 'v1.0.0', NULL, replace(yaml, 'End: 60000', 'End: 70000'), created_at FROM public.schedulers WHERE name = 'lenient';

-- The active row says other than the row of its version, in what rooms are made of and in what they are not ----------------

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'drifted', game, state, version, created_at, replace(replace(yaml, 'chess:1', 'chess:1-hotfix'), 'Replicas: 2', 'Replicas: 5')
FROM public.schedulers WHERE name = 'simple';
INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
SELECT 'drifted', version, yaml, created_at FROM public.scheduler_versions WHERE name = 'simple';

-- The row of the active version is gone ---------------------------------------------------------------------------------------

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'rowless', game, state, 'v1.4.0', created_at, yaml FROM public.schedulers WHERE name = 'simple';
INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
SELECT 'rowless', version, yaml, created_at FROM public.scheduler_versions WHERE name = 'simple';

-- What cannot be taken over ----------------------------------------------------------------------------------------------------

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'broken', game, state, version, created_at, replace(yaml, 'Image: registry', E'  Image: "s3cret registry')
FROM public.schedulers WHERE name = 'simple';

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'half-broken', game, state, version, created_at, yaml FROM public.schedulers WHERE name = 'simple';
INSERT INTO public.scheduler_versions (name, version, yaml, created_at)
SELECT 'half-broken', version, yaml, created_at FROM public.scheduler_versions WHERE name = 'simple'
UNION ALL
SELECT 'half-broken', 'v0.9.0', 'RoomsReplicas: many', '2022-12-31T00:00:00Z';

INSERT INTO public.schedulers (name, game, state, version, created_at, yaml)
SELECT 'Old_Name', game, state, version, created_at, yaml FROM public.schedulers WHERE name = 'simple';
