import { create } from '@bufbuild/protobuf';
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Logger } from '../../ports/logger';
import { errorAnswerOf, logSurprise } from '../http/answer-error';
import { decodeRequest, trailerText } from './answer-unary-call';
import { encodeBinary, methodPath } from './grpc-service-definition';
import type { MessageCounts } from './watch-calls';

/** An rpc that streams both ways, as protobuf-es describes it. */
export type BidiMethod<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = DescMethod & {
  methodKind: 'bidi_streaming';
  input: I;
  output: O;
};

/** Our end of a stream. What is sent after its end is dropped. */
export interface RpcStream<M extends BidiMethod> {
  send(message: MessageInitShape<M['output']>): void;
  /** A message that is encoded already. */
  sendBytes(bytes: Uint8Array): void;
  /** Ends it with OK, after what was sent. */
  end(): void;
  /** Ends it with the status that the error table has for it, after what was sent. */
  fail(error: unknown): void;
}

/** What a handler does with what comes. What it throws is the stream's end, as with `fail`. */
export interface StreamReceiver<M extends BidiMethod> {
  /** Takes a message as it came, or answers false: then it is decoded for `onMessage`. */
  onBytes?(bytes: Buffer): boolean;
  onMessage(message: MessageShape<M['input']>): void;
  /** The caller sends nothing more, and may still be answered. */
  onHalfClose(): void;
  /** The stream is over, however that came. Nothing follows. */
  onEnd(): void;
}

export type BidiRpc<M extends BidiMethod> = (stream: RpcStream<M>) => StreamReceiver<M>;

/**
 * Answers a stream of both directions by a handler; as `answerUnaryCall` it takes and gives bytes, for the same reason.
 * A caller that does not read what it is sent is not read from either, so what waits for it is bounded.
 */
export function answerStream<M extends BidiMethod>(
  method: M,
  handler: BidiRpc<M>,
  logger: Logger,
  counts: MessageCounts,
): (call: ServerDuplexStream<Uint8Array, Uint8Array>) => void {
  const input: M['input'] = method.input;
  const output: M['output'] = method.output;
  const path = methodPath(method);
  return (call) => {
    const isOver = (): boolean => call.writableEnded || call.destroyed;
    const fail = (error: unknown): void => {
      if (isOver()) return;
      const told = errorAnswerOf(error);
      logSurprise(logger, told, error, { method: 'gRPC', path });
      // grpc-js takes this for the stream's status.
      call.emit('error', { code: told.grpcCode, details: trailerText(told.message) });
    };
    const guarded = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        fail(error);
      }
    };
    const stream: RpcStream<M> = {
      send: (message) => {
        if (isOver()) return;
        guarded(() => stream.sendBytes(encodeBinary(output, create(output, message))));
      },
      sendBytes: (bytes) => {
        if (isOver()) return;
        counts.sent();
        if (!call.write(bytes)) call.pause();
      },
      end: () => {
        if (!isOver()) call.end();
      },
      fail,
    };
    const receiver = handler(stream);
    call.on('data', (bytes: Buffer) => {
      if (isOver()) return;
      guarded(() => {
        counts.received();
        if (receiver.onBytes?.(bytes) !== true) receiver.onMessage(decodeRequest(input, bytes));
      });
    });
    call.on('drain', () => call.resume());
    call.on('end', () => {
      // A caller that breaks off looks like one that has said all it wants to, for a moment.
      setImmediate(() => {
        if (!isOver()) guarded(() => receiver.onHalfClose());
      });
    });
    // grpc-js says `cancelled` at the end of every stream.
    call.once('cancelled', () => receiver.onEnd());
  };
}
