import assert from 'node:assert/strict';
import type { FromView } from '../../../webview/src/messages';
import { connect } from '../../../webview/src/rpc';

/** The extension's end, answered by hand. */
function pair(): { sent: FromView<'checkpoint'>[]; answer: (message: unknown) => void; transport: Parameters<typeof connect>[0] } {
  const sent: FromView<'checkpoint'>[] = [];
  let receive: (message: unknown) => void = () => undefined;
  return {
    sent,
    answer: (message) => receive(message),
    transport: { post: (message) => sent.push(message as FromView<'checkpoint'>), listen: (listener) => { receive = listener; } },
  };
}

describe('webview: requests', () => {
  it('resolves each request with its own answer', async () => {
    const { sent, answer, transport } = pair();
    const rpc = connect<'checkpoint'>(transport, () => assert.fail('no event was sent'));
    const first = rpc.request('tensorStats', { tensor: 'a' });
    const second = rpc.request('tensorStats', { tensor: 'b' });
    assert.deepEqual(sent.map((message) => [message.kind, message.id]), [['request', 1], ['request', 2]]);
    answer({ kind: 'response', id: 2, result: 'two' });
    answer({ kind: 'response', id: 1, result: 'one' });
    assert.deepEqual([await first, await second], ['one', 'two']);
  });

  it('rejects with the extension\'s message', async () => {
    const { answer, transport } = pair();
    const request = connect<'checkpoint'>(transport, () => undefined).request('load', null);
    answer({ kind: 'failure', id: 1, message: 'model.safetensors is too short' });
    await assert.rejects(request, /too short/);
  });

  it('times out and cancels the work', async () => {
    const { sent, transport } = pair();
    await assert.rejects(connect<'checkpoint'>(transport, () => undefined).request('load', null, { timeout: 1 }), /No answer to 'load' within 0.001 s/);
    assert.deepEqual(sent.at(-1), { kind: 'cancel', id: 1 });
  });

  it('cancels when the signal aborts', async () => {
    const { sent, transport } = pair();
    const abort = new AbortController();
    const request = connect<'checkpoint'>(transport, () => undefined).request('load', null, { signal: abort.signal });
    abort.abort();
    await assert.rejects(request, /Cancelled/);
    assert.deepEqual(sent.at(-1), { kind: 'cancel', id: 1 });
  });

  it('hands on events', () => {
    const { answer, transport } = pair();
    const events: unknown[] = [];
    connect<'checkpoint'>(transport, (event) => events.push(event));
    answer({ kind: 'event', event: { type: 'changed' } });
    assert.deepEqual(events, [{ type: 'changed' }]);
  });
});
