import assert from 'node:assert/strict';
import { sarif } from '../../../../server/src/config/dialects/sarif';
import type { Problem } from '../../../../server/src/protocol';

interface Log {
  version: string; $schema: string;
  runs: { tool: { driver: { name: string; version: string; rules: { id: string; shortDescription: { text: string } }[] } }; columnKind: string; originalUriBaseIds: Record<string, { uri: string }>;
    results: { ruleId: string; ruleIndex: number; level: string; message: { text: string }; locations: { physicalLocation: { artifactLocation: { uri: string; uriBaseId?: string }; region?: Record<string, number> } }[] }[]; }[];
}

describe('SARIF', () => {
  const problems: Problem[] = [
    { code: 'dialect/matches-nothing', severity: 'warning', message: 'nothing', range: { start: { line: 2, character: 4 }, end: { line: 2, character: 9 } } },
    { code: 'config/yaml', severity: 'error', message: 'broken', range: { start: { line: 0, character: 0 }, end: { line: 0, character: 1 } } },
    { code: 'checkpoint/no-layers', severity: 'info', message: 'none', file: '/models/other.safetensors' },
    { code: 'dialect/matches-nothing', severity: 'hint', message: 'nothing again' },
  ];
  const { version, runs: [run], $schema } = sarif(problems, '/project/a b/config.json', '/project', '1.2.3') as unknown as Log;

  it('has the structure that 2.1.0 asks for', () => {
    assert.equal(version, '2.1.0');
    assert.match($schema, /sarif-2\.1\.0\.json$/);
    assert.deepEqual([run?.tool.driver.name, run?.tool.driver.version, run?.columnKind], ['QuantScope', '1.2.3', 'utf16CodeUnits']);
    assert.match(run?.originalUriBaseIds['ROOT']?.uri ?? '', /^file:\/\/\/project\/$/);
    for (const result of run?.results ?? assert.fail()) {
      assert.equal(run?.tool.driver.rules[result.ruleIndex]?.id, result.ruleId);
      assert.ok(['none', 'note', 'warning', 'error'].includes(result.level));
      assert.ok(result.message.text.length > 0);
      assert.ok(Object.values(result.locations[0]?.physicalLocation.region ?? {}).every((value) => Number.isInteger(value) && value >= 1));
    }
    assert.ok(run?.tool.driver.rules.every(({ id, shortDescription: { text } }) => text.length > id.length));
  });

  it('names places from 1, relative to the folder where it can', () => {
    assert.deepEqual(run?.results.map(({ level, locations: [at] }) => [level, at?.physicalLocation.artifactLocation, at?.physicalLocation.region]), [
      ['warning', { uri: 'a%20b/config.json', uriBaseId: 'ROOT' }, { startLine: 3, startColumn: 5, endLine: 3, endColumn: 10 }],
      ['error', { uri: 'a%20b/config.json', uriBaseId: 'ROOT' }, { startLine: 1, startColumn: 1, endLine: 1, endColumn: 2 }],
      ['note', { uri: 'file:///models/other.safetensors' }, undefined],
      ['note', { uri: 'a%20b/config.json', uriBaseId: 'ROOT' }, undefined],
    ]);
  });
});
