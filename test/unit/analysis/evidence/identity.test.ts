import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { checkpointIdentity, configIdentity } from '../../../../server/src/analysis/evidence/identity';
import { CheckpointError, openCheckpoint } from '../../../../server/src/checkpoint';
import { EngineError } from '../../../../server/src/engine/client';
import { temporaryFolders } from '../../../fixtures/folder';
import { safetensors } from '../../../fixtures/safetensors';

const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');

describe('identity of what a report is about', () => {
  const folder = temporaryFolders();

  it('config: the file\'s own hash, byte order mark and all', async () => {
    const path = join(folder({ 'a.quant.yaml': '\ufeffversion: 1\n' }), 'a.quant.yaml');
    assert.deepEqual(await configIdentity(path, 'version: 1\n'), { name: 'a.quant.yaml', sha256: sha256('\ufeffversion: 1\n'), saved: true });
  });

  it('config: what was not saved is hashed as it was measured, and says so', async () => {
    const path = join(folder({ 'a.quant.yaml': 'version: 1\n' }), 'a.quant.yaml');
    assert.deepEqual(await configIdentity(path, 'version: 2\n'), { name: 'a.quant.yaml', sha256: sha256('version: 2\n'), saved: false });
    assert.equal((await configIdentity(join(path, '../gone.quant.yaml'), 'x')).saved, false);
  });

  const weights = safetensors({ 'a.weight': { dtype: 'F32', shape: [2, 2], data: new Uint8Array(16) } });

  it('weights: the hash of their content', async () => {
    const path = join(folder({ 'm.safetensors': weights }), 'm.safetensors');
    const checkpoint = await openCheckpoint(path);
    assert.deepEqual(await checkpointIdentity(checkpoint, { whatever: false }), { revision: checkpoint.revision, files: [{ name: 'm.safetensors', bytes: weights.length, sha256: sha256(weights) }] });
  });

  it('weights above 1 GiB are hashed when asked only', async () => {
    const path = join(folder({ 'm.safetensors': weights }), 'm.safetensors');
    const checkpoint = await openCheckpoint(path);
    const large = join(path, '../large.safetensors');
    writeFileSync(large, '');
    truncateSync(large, 2 ** 30 + 1);
    const both = { ...checkpoint, tensors: [...checkpoint.tensors, { ...checkpoint.tensors[0], file: large } as typeof checkpoint.tensors[0]].filter((tensor) => tensor !== undefined) };
    assert.deepEqual((await checkpointIdentity(both, { whatever: false })).files.map(({ name, sha256: hash }) => [name, hash]), [['large.safetensors', null], ['m.safetensors', null]]);
    const cancel = new CancellationTokenSource();
    const asked = checkpointIdentity(both, { whatever: true, cancellation: cancel.token, onProgress: () => cancel.cancel() });
    await assert.rejects(asked, (error: unknown) => error instanceof EngineError && error.code === 'CANCELLED');
  });

  it('files that change meanwhile have no identity', async () => {
    const path = join(folder({ 'm.safetensors': weights }), 'm.safetensors');
    const checkpoint = await openCheckpoint(path);
    writeFileSync(path, Buffer.concat([weights, Buffer.alloc(8)]));
    await assert.rejects(checkpointIdentity(checkpoint, { whatever: false }), CheckpointError);
  });
});
