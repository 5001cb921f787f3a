/** Thousands of damaged headers: whatever comes out is a header or a CheckpointError, and an accepted header is consistent. */
import assert from 'node:assert/strict';
import { describe as describeTensors } from '../../../server/src/checkpoint/architecture';
import { CheckpointError } from '../../../server/src/checkpoint/errors';
import { headerLength, parseHeader } from '../../../server/src/checkpoint/safetensors';
import { parseIndex } from '../../../server/src/checkpoint/sharded';
import { rawSafetensors, safetensors } from '../../fixtures/safetensors';
import { assertProblem } from './expect';

/** xorshift32 (Marsaglia 2003): the same numbers on every machine. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return below => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const valid = safetensors({
  'blocks.0.attn.q.weight': { dtype: 'BF16', shape: [4, 2] }, 'blocks.0.norm.weight': { dtype: 'F32', shape: [3] }, 'x.bias': { dtype: 'U8', shape: [0] }, 'é': { dtype: 'F4', shape: [2, 4] },
}, { format: 'pt', note: 'a "quoted" \\ note' });
const fragments = ['{', '}', '[', ']', '"', ':', ',', '0', '-1', '1e9', '9007199254740993', 'null', '"__metadata__":', '"__proto__":', '"dtype":"F64"', '\\u0000', '\\', '\0', '\xff', ' ', '"shape":[', '"data_offsets":[0,1]'];

function mutate(bytes: Buffer, next: (below: number) => number): Buffer {
  const at = next(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + next(6));
  const piece = Buffer.from(fragments[next(fragments.length)] ?? '', 'latin1');
  switch (next(5)) {
    case 0: return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    case 1: return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    case 2: return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    case 3: return bytes.subarray(0, at);
    default: {
      const copy = Buffer.from(bytes);
      copy[Math.min(at, copy.length - 1)] = next(256);
      return copy;
    }
  }
}

function check(file: Buffer): 'accepted' | 'refused' {
  try {
    const length = headerLength('m.safetensors', file, file.length);
    const { tensors } = parseHeader('m.safetensors', file.subarray(8, 8 + length), file.length);
    assert.equal(new Set(tensors.map(tensor => tensor.name)).size, tensors.length);
    assert.equal(tensors.reduce((end, tensor) => { assert.equal(tensor.offset, end); return end + tensor.bytes; }, 8 + length), file.length);
    describeTensors('m.safetensors', tensors, null);
    return 'accepted';
  } catch (error) {
    assert.ok(error instanceof CheckpointError, String(error));
    assertProblem(error, error.problem.code as Parameters<typeof assertProblem>[1]);
    return 'refused';
  }
}

describe('damaged headers', () => {
  it('5,000 files damaged anywhere', () => {
    const next = generator(1);
    const outcomes = { accepted: 0, refused: 0 };
    for (let i = 0; i < 5000; i++) {
      let file: Buffer = valid;
      for (let round = next(3); round >= 0; round--) {
        file = mutate(file, next);
      }
      outcomes[check(file)]++;
    }
    assert.ok(outcomes.accepted > 50 && outcomes.refused > 4000, JSON.stringify(outcomes));
  });

  it('5,000 headers damaged inside, with a length that fits', () => {
    const next = generator(2);
    const header = valid.subarray(8, 8 + headerLength('m', valid, valid.length));
    const data = valid.subarray(8 + header.length);
    const outcomes = { accepted: 0, refused: 0 };
    for (let i = 0; i < 5000; i++) {
      let damaged: Buffer = header;
      for (let round = next(3); round >= 0; round--) {
        damaged = mutate(damaged, next);
      }
      outcomes[check(rawSafetensors(damaged, data))]++;
    }
    assert.ok(outcomes.accepted > 50 && outcomes.refused > 3000, JSON.stringify(outcomes));
  });

  it('2,000 files of noise', () => {
    const next = generator(3);
    for (let i = 0; i < 2000; i++) {
      assert.equal(check(Buffer.from(Array.from({ length: next(64) }, () => next(256)))), 'refused');
    }
  });

  it('2,000 damaged shard indices', () => {
    const next = generator(4);
    const index = Buffer.from('{"metadata":{"total_size":12},"weight_map":{"a.weight":"m-1.safetensors","b":"m-2.safetensors"}}');
    for (let i = 0; i < 2000; i++) {
      try {
        assert.ok(parseIndex('m.safetensors.index.json', mutate(mutate(index, next), next)).weightMap instanceof Map);
      } catch (error) {
        assert.ok(error instanceof CheckpointError, String(error));
      }
    }
  });
});
