/** The view's end of the messages: typed requests that reject and time out, and events. */
import type { FromView, Params, Requests, Result, ToView, ViewName, Views } from './messages';

/** The two things the page gets from VS Code, or a test in its place. */
export interface Transport {
  post(message: unknown): void;
  listen(receive: (message: unknown) => void): void;
}

export interface Rpc<V extends ViewName> {
  /** Rejects with the extension's message, or after `timeout` milliseconds, or when the signal aborts (the work in the extension is cancelled too). */
  request<M extends keyof Requests<V>>(method: M, params: Params<V, M>, options?: { timeout?: number; signal?: AbortSignal }): Promise<Result<V, M>>;
}

export function connect<V extends ViewName>(transport: Transport, onEvent: (event: Views[V]['event']) => void): Rpc<V> {
  const pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  const post = (message: FromView<V>): void => transport.post(message);
  transport.listen((received) => {
    const message = received as ToView<V>;
    if (message.kind === 'event') {
      onEvent(message.event);
    } else if (message.kind === 'response') {
      pending.get(message.id)?.resolve(message.result as never);
    } else {
      pending.get(message.id)?.reject(new Error(message.message));
    }
  });
  return {
    request: async (method, params, { timeout = 120_000, signal } = {}) => {
      const id = ++lastId;
      let timer: ReturnType<typeof setTimeout> | undefined;
      let abort: (() => void) | undefined;
      try {
        return await new Promise<never>((resolve, reject) => {
          const give = (reason: string): void => {
            post({ kind: 'cancel', id });
            reject(new Error(reason));
          };
          timer = setTimeout(() => give(`No answer to '${String(method)}' within ${timeout / 1000} s. See the QuantScope log.`), timeout);
          abort = () => give('Cancelled.');
          signal?.addEventListener('abort', abort);
          pending.set(id, { resolve, reject });
          post({ kind: 'request', id, method, params });
        });
      } finally {
        clearTimeout(timer);
        if (abort !== undefined) {
          signal?.removeEventListener('abort', abort);
        }
        pending.delete(id);
      }
    },
  };
}
