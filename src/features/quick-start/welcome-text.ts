export interface WelcomeFacts {
  managementUrl: string;
  /** Host and port. */
  managementGrpc: string;
  roomsUrl: string;
  /** Host and port. */
  roomsGrpc: string;
  internalUrl: string;
  /** "embedded PostgreSQL 18.4", "PostgreSQL at db:5432/maestro". */
  postgres: string;
  redis: string;
  /** With the slash at its end. */
  stateDirectory: string;
  /** Whether there is a sample scheduler to look at. */
  hasSample: boolean;
  /** Whether the rooms end with this process. */
  endsRooms: boolean;
}

/** What a person sees who started everything with one command: what runs, where, and what to try next. */
export function welcomeText(facts: WelcomeFacts): string {
  const {
    managementUrl,
    managementGrpc,
    roomsUrl,
    roomsGrpc,
    internalUrl,
    postgres,
    redis,
    stateDirectory,
    hasSample,
    endsRooms,
  } = facts;
  const killOne = `kill -9 $(grep -ho '"pid":[0-9]*' ${stateDirectory}runtime/rooms/arena/*.json | head -1 | cut -d: -f2)`;
  const next = hasSample
    ? [
        `curl -s ${managementUrl}/schedulers/info`,
        `${killOne}   # a room dies, and is replaced:`,
        `curl -s '${managementUrl}/schedulers/arena/operations?stage=final'`,
      ]
    : [
        `curl -s ${managementUrl}/schedulers/info`,
        `curl -s ${managementUrl}/docs-json`,
        `curl -s ${internalUrl}/readyz`,
      ];
  return `
  Maestro runs: management API, rooms API, worker, runtime watcher, metrics reporter
  with ${postgres} and ${redis}. State: ${stateDirectory} (npm run reset clears it)

    Swagger UI   ${managementUrl}/docs
    gRPC         ${managementGrpc}  (grpcurl -plaintext ${managementGrpc} list)
    Rooms API    ${roomsUrl}, over gRPC ${roomsGrpc}
    Metrics      ${internalUrl}/metrics

  Try next:
${next.map((line) => `    ${line}`).join('\n')}

  ${endsRooms ? 'Ctrl-C stops everything, rooms included.' : 'Ctrl-C stops everything but the rooms: they are pods, and stay.'}
`;
}

/** The same for a log: where to call what. */
export function welcomeFields(facts: WelcomeFacts): Record<string, string | boolean> {
  return {
    management_url: facts.managementUrl,
    swagger_ui: `${facts.managementUrl}/docs`,
    management_grpc: facts.managementGrpc,
    rooms_url: facts.roomsUrl,
    rooms_grpc: facts.roomsGrpc,
    metrics_url: `${facts.internalUrl}/metrics`,
    postgres: facts.postgres,
    redis: facts.redis,
    state_directory: facts.stateDirectory,
    ends_rooms: facts.endsRooms,
  };
}
