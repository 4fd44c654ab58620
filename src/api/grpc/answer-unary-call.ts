import { create } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import type { ServerUnaryCall, StatusObject, sendUnaryData } from '@grpc/grpc-js';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { errorAnswerOf, logSurprise } from '../http/answer-error';
import type { RpcContext, UnaryMethod } from '../http/call-rpc';
import { malformedField } from '../http/protojson';
import { decodeBinary, encodeBinary, methodPath } from './grpc-service-definition';
import { refuseNulText } from './refuse-nul-text';

export type UnaryRpc<M extends UnaryMethod> = (
  message: MessageShape<M['input']>,
  context: RpcContext,
) => Promise<MessageInitShape<M['output']>>;

/**
 * Answers a call by a handler. It takes and gives bytes, so that what fails in decoding or encoding is answered by the one
 * error table, and logged, like everything else; grpc-js itself would say INTERNAL for both and log nothing.
 */
export function answerUnaryCall<M extends UnaryMethod>(
  method: M,
  handler: UnaryRpc<M>,
  logger: Logger,
): (call: ServerUnaryCall<Uint8Array, Uint8Array>, callback: sendUnaryData<Uint8Array>) => void {
  const input: M['input'] = method.input;
  const output: M['output'] = method.output;
  const path = methodPath(method);
  const answer = async (call: ServerUnaryCall<Uint8Array, Uint8Array>): Promise<Uint8Array> => {
    const message = decodeRequest(input, call.request);
    return encodeBinary(output, create(output, await handler(message, new CallContext(call))));
  };
  return (call, callback) => {
    answer(call).then(
      (bytes) => callback(null, bytes),
      (error: unknown) => {
        const told = errorAnswerOf(error);
        logSurprise(logger, told, error, { method: 'gRPC', path });
        callback({ code: told.grpcCode, details: trailerText(told.message) });
      },
    );
  };
}

/** @throws DomainError `request.malformed` (invalid_argument). */
export function decodeRequest<I extends DescMessage>(schema: I, bytes: Uint8Array): MessageShape<I> {
  let message: MessageShape<I>;
  try {
    message = decodeBinary(schema, bytes);
  } catch (error) {
    throw malformedField('', messageOf(error));
  }
  refuseNulText(schema, message);
  return message;
}

/** The signal is made when it is asked for: most handlers never do, and each costs an AbortController. */
class CallContext implements RpcContext {
  private controller: AbortController | undefined;

  constructor(private readonly call: ServerUnaryCall<unknown, unknown>) {}

  get signal(): AbortSignal {
    if (this.controller === undefined) {
      const controller = (this.controller = new AbortController());
      if (this.call.cancelled) controller.abort();
      else this.call.once('cancelled', () => controller.abort());
    }
    return this.controller.signal;
  }
}

/**
 * Largest message of an error, as it travels. Clients in Java and C refuse trailers over 8 KiB, and would then show a failure
 * of the transport instead of ours (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Bytes.
 */
const maxTrailerTextBytes = 6 * 1024;

/** An error's message as a trailer can carry it: cut if it is too long. grpc-js escapes it, and throws at half a character. */
export function trailerText(message: string): StatusObject['details'] {
  let size = 0;
  let kept = '';
  for (const character of message) {
    const whole = /^[\ud800-\udfff]$/.test(character) ? '\ufffd' : character;
    size += encodeURI(whole).length;
    if (size > maxTrailerTextBytes) return `${kept}…`;
    kept += whole;
  }
  return kept;
}
