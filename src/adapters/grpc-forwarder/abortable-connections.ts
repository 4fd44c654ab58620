import { ChannelCredentials, experimental, status, type CallCredentials, type ChannelOptions } from '@grpc/grpc-js';

/*
 * grpc-js 1.14 neither limits nor ends a connection that nobody accepts, or accepts and never answers (grpc-node #2785), and
 * a channel that is closed while it waits to connect again does connect again. Such sockets would pile up, and keep a process
 * alive that wants to stop. So every socket of a channel is bound to a signal, in whatever state it is.
 */

/**
 * DNS as grpc-js does it. The addresses that a resolver answers are what grpc-js gives to `net.connect`, and one of its
 * options is a signal that ends the socket.
 */
class AbortableDnsResolver implements experimental.Resolver {
  private readonly dns: experimental.Resolver;

  static getDefaultAuthority({ path }: experimental.GrpcUri): string {
    return path;
  }

  constructor(target: experimental.GrpcUri, listener: experimental.ResolverListener, options: ChannelOptions) {
    const signal = options[signalOption] as AbortSignal;
    const answer: experimental.ResolverListener = (endpoints, ...rest) => {
      if (!endpoints.ok) return listener(endpoints, ...rest);
      const addresses = endpoints.value.flatMap((endpoint) => endpoint.addresses);
      // `net.connect` would throw, and leave a socket behind that nobody listens to when the signal ends it.
      if (addresses.some((address) => 'port' in address && address.port > 65_535)) return listener(noSuchPort, ...rest);
      const abortable = addresses.map((address) => ({ addresses: [{ ...address, signal }] }));
      return listener(experimental.statusOrFromValue<experimental.Endpoint[]>(abortable), ...rest);
    };
    this.dns = experimental.createResolver({ ...target, scheme: 'dns' }, answer, options);
  }

  updateResolution(): void {
    this.dns.updateResolution();
  }

  destroy(): void {
    this.dns.destroy();
  }
}

/** Credentials with which nothing connects any more once the signal is aborted. */
class AbortableCredentials extends ChannelCredentials {
  constructor(
    private readonly inner: ChannelCredentials,
    private readonly signal: AbortSignal,
  ) {
    super();
  }

  override _isSecure(): boolean {
    return this.inner._isSecure();
  }

  /** So channels share no connection: a new one must not inherit the lost ones of its predecessor. */
  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(
    target: experimental.GrpcUri,
    options: ChannelOptions,
    callCredentials?: CallCredentials,
  ): experimental.SecureConnector {
    const connector = this.inner._createSecureConnector(target, options, callCredentials);
    return {
      waitForReady: async () => {
        this.signal.throwIfAborted();
        await connector.waitForReady();
      },
      connect: (socket) => connector.connect(socket),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }
}

const noSuchPort = experimental.statusOrFromError<experimental.Endpoint[]>({
  code: status.UNAVAILABLE,
  details: 'a port is at most 65535',
});

const scheme = 'maestro-dns';
const signalOption = 'maestro.signal';

experimental.registerResolver(scheme, AbortableDnsResolver);

/** What a client to `host:port` needs, so that all its sockets end with the signal. */
export function abortableConnections(
  address: string,
  inner: ChannelCredentials,
  signal: AbortSignal,
): { target: string; credentials: ChannelCredentials; options: ChannelOptions } {
  return {
    target: `${scheme}:///${address}`,
    credentials: new AbortableCredentials(inner, signal),
    options: { [signalOption]: signal },
  };
}
