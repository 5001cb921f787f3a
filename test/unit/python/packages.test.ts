/** What files of a project say of versions, and what is certain of them. */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ge, lt, satisfies } from '@renovatebot/pep440';
import { packagesAround } from '../../../server/src/python/packages/files';
import { allowedBy, both, certain, either } from '../../../server/src/python/packages/allowed';
import type { Allowed, Versions } from '../../../server/src/python/packages/allowed';
import { readRequirements } from '../../../server/src/python/packages/requirements';
import { temporaryFolders } from '../../fixtures/folder';
import { requiring } from '../config/dialects/support';

describe('versions of packages', () => {
  it('are certain when every allowed one is', () => {
    const is = (line: string, versions: Versions): boolean => certain(requiring(line), 'torchao', versions) !== undefined;
    const before = (version: string): string[] => ['torchao==0.14.1', 'torchao==0.14.*', 'torchao~=0.14.0', 'torchao~=0.14', 'torchao<0.15', 'torchao<=0.15', 'torchao>=0.9, <0.15', 'torchao', 'torchao!=0.15', 'torchao==0.15.0.dev20250101', 'torchao==0.14.1+cu121', 'torchao===0.14.1', 'torchao(<0.15)']
      .filter((line) => is(line, { before: version }));
    assert.deepEqual(before('0.15'), ['torchao==0.14.1', 'torchao==0.14.*', 'torchao~=0.14.0', 'torchao<0.15', 'torchao>=0.9, <0.15', 'torchao==0.15.0.dev20250101', 'torchao==0.14.1+cu121', 'torchao===0.14.1', 'torchao(<0.15)']);
    const from = (version: string): string[] => ['torchao==0.16.0', 'torchao>=0.16', 'torchao>0.16', 'torchao>0.15', 'torchao~=0.16', 'torchao<0.18', 'torchao==0.16.0rc1', 'torchao==0.9', 'torchao==1!0.1'].filter((line) => is(line, { from: version }));
    assert.deepEqual(from('0.16'), ['torchao==0.16.0', 'torchao>=0.16', 'torchao>0.16', 'torchao~=0.16', 'torchao==1!0.1']);
    assert.deepEqual([is('torchao>=0.15,<0.17', { from: '0.15', before: '0.17' }), is('torchao>=0.15,<=0.17', { from: '0.15', before: '0.17' }), is('diffusers==1.0', { from: '0.1' })], [true, false, false]);
  });

  it('are never certain where pip would take a version outside', () => {
    const versions = [0, 1].flatMap((major) => Array.from({ length: 5 }, (_, minor) => [`${major}.${minor}.0.dev1`, `${major}.${minor}.0rc1`, `${major}.${minor}`, `${major}.${minor}.0.post1`, `${major}.${minor}.1`, `${major}.${minor}.1+cu121`])).flat();
    const operators = ['==', '>=', '>', '<=', '<', '~=', '!='];
    const bounds = ['0.2', '0.2.1', '0.4', '1.0', '1.2.1'];
    const single = [...operators.flatMap((operator) => bounds.map((bound) => `${operator}${bound}`)), '==0.2.*', '==1.*', '!=0.2.*'];
    const specifiers = [...single, ...single.flatMap((one) => single.map((other) => `${one},${other}`))];
    const ranges: Versions[] = [{ before: '0.3' }, { from: '0.2' }, { from: '0.2', before: '1.1' }, { from: '1.0' }, { before: '0.2.1' }];
    let sure = 0;
    for (const specifier of specifiers) {
      const taken = versions.filter((version) => satisfies(version, specifier));
      for (const { from, before } of ranges) {
        const outside = taken.filter((version) => (from !== undefined && lt(version, from)) || (before !== undefined && ge(version, before)));
        if (certain(new Map([['x', allowedBy(specifier, 'here')]]), 'x', { ...from === undefined ? {} : { from }, ...before === undefined ? {} : { before } }) !== undefined) {
          sure++;
          assert.deepEqual(outside, [], `${specifier} for ${from ?? ''}–${before ?? ''}`);
        }
      }
    }
    assert.ok(sure > 1000, `${sure} of ${specifiers.length * ranges.length}`);
  });

  it('hold together, or one or the other', () => {
    const [wide, narrow, pinned, other] = ['>=0.9', '>=0.10,<0.15', '==0.12', '==0.16'].map((specifiers) => allowedBy(specifiers, specifiers)) as [Allowed, Allowed, Allowed, Allowed];
    const shown = ({ from, to }: Allowed): unknown => [from?.place, to?.place];
    assert.deepEqual([both(wide, narrow), both(narrow, pinned), both(pinned, other), both(wide, {}), both(allowedBy('<0.12', 'x'), pinned)].map(shown), [['>=0.10,<0.15', '>=0.10,<0.15'], ['==0.12', '==0.12'], [undefined, undefined], ['>=0.9', undefined], [undefined, undefined]]);
    assert.deepEqual([either(wide, narrow), either(pinned, other), either(other, pinned), either(pinned, {})].map(shown), [['>=0.9', undefined], ['==0.12', '==0.16'], ['==0.12', '==0.16'], [undefined, undefined]]);
  });

  it('are read from a requirements file as pip reads it', () => {
    const { requirements, included, constrained } = readRequirements([
      '# torchao==0.1', '--index-url https://example.org/simple', 'Torch_AO.x==1  # why', 'torchao[dev, all] >= 0.12, < 0.15 ; python_version < "3.12"', 'torchao==0.12.0 \\', '    --hash=sha256:00 \\', '    --hash=sha256:01',
      'torchao @ https://download.example.org/whl/torchao-0.16.0%2Bcu128-cp310-abi3-linux_x86_64.whl ; sys_platform == "linux"', 'diffusers @ git+https://github.com/huggingface/diffusers@main', 'https://example.org/a.whl', './local', '-e .', '-r more.txt', '--requirement=other.txt', '-c pins.txt', 'torchao = 1', '', 'nunchaku\r',
    ].join('\n'));
    assert.deepEqual(requirements, [
      { name: 'torch-ao-x', specifiers: '==1', line: 2 }, { name: 'torchao', specifiers: '>=0.12,<0.15', line: 3 }, { name: 'torchao', specifiers: '==0.12.0', line: 6 }, { name: 'torchao', specifiers: '==0.16.0+cu128', line: 7 }, { name: 'diffusers', specifiers: '', line: 8 },
      { name: 'torchao', specifiers: '=1', line: 15 }, { name: 'nunchaku', specifiers: '', line: 17 },
    ]);
    assert.deepEqual([included, constrained], [['more.txt', 'other.txt'], ['pins.txt']]);
    assert.equal(certain(requiring('torchao = 1'), 'torchao', { from: '0' }), undefined); // pip refuses it
    const blanks = ' '.repeat(900_000);
    assert.deepEqual(readRequirements(`-r a${blanks}b\ntorchao${blanks}b\ntorchao${blanks}==1\n${'a'.repeat(900_000)}&`).requirements, [{ name: 'torchao', specifiers: '==1', line: 2 }]);
  });

  describe('around a file', () => {
    const folder = temporaryFolders();
    const lock = (...packages: [string, string][]): string => `version = 1\n${packages.map(([name, version]) => `\n[[package]]\nname = "${name}"\nversion = "${version}"\n`).join('')}`;
    const installed = (name: string, lib = '.venv/lib/python3.12'): Record<string, string> => ({ [`${lib}/site-packages/${name}.dist-info/METADATA`]: '' });
    /** Of torchao: where the lower and the upper bound stand. */
    const found = async (files: Record<string, string>, name = 'config.json', prepare?: (place: string) => void): Promise<(string | undefined)[]> => {
      const place = folder({ '.git/HEAD': '', ...files });
      prepare?.(place);
      const allowed = (await packagesAround(join(place, name))).get('torchao');
      return [...new Set([allowed?.from?.place, allowed?.to?.place])];
    };

    it('count as installed before locked before required', async () => {
      const files = { 'requirements.txt': 'torchao==0.10', 'uv.lock': lock(['torch', '2.8'], ['torchao', '0.11.0']), 'pyproject.toml': '[project]\ndependencies = ["torchao>=0.9"]\n' };
      assert.deepEqual(await found({ ...files, ...installed('torchao-0.12.0+cu121') }), ['torchao 0.12.0+cu121 (.venv/lib/python3.12/site-packages)']);
      assert.deepEqual(await found({ ...files, ...installed('torchao-0.12.0', 'venv/Lib') }), ['torchao 0.12.0 (venv/Lib/site-packages)']);
      assert.deepEqual(await found({ ...files, ...installed('torch-2.8.0') }), ['torchao 0.11.0 (uv.lock, line 8)']);
      assert.deepEqual(await found({ 'requirements.txt': '\n\ntorchao==0.10' }), ['torchao==0.10 (requirements.txt, line 3)']);
    });

    it('are read from lock files for every platform', async () => {
      assert.deepEqual(await found({ 'poetry.lock': lock(['torchao', '0.12.0'], ['torchao', '0.16.0']) }), ['torchao 0.12.0 (poetry.lock, line 4)', 'torchao 0.16.0 (poetry.lock, line 8)']);
      assert.deepEqual(await found({ 'pdm.lock': lock(['TorchAO', '0.12.0']) }), ['torchao 0.12.0 (pdm.lock, line 4)']);
    });

    it('are narrowed by constraints and by the project, and widened by files for other environments', async () => {
      const project = '[project]\nname = "x"\ndependencies = [\n  "torchao>=0.9",\n]\n';
      assert.deepEqual(await found({ 'requirements.txt': 'torchao', 'pyproject.toml': project, 'constraints.txt': 'torchao<0.15' }), ['torchao>=0.9 (pyproject.toml, line 4)', 'torchao<0.15 (constraints.txt, line 1)']);
      assert.deepEqual(await found({ 'requirements.txt': 'torchao>=0.9\n-c pins/gpu.txt', 'pins/gpu.txt': 'torchao==0.12' }), ['torchao==0.12 (pins/gpu.txt, line 1)']);
      assert.deepEqual(await found({ 'requirements.txt': 'torchao==0.12', 'requirements-dev.txt': 'torchao==0.16' }), ['torchao==0.12 (requirements.txt, line 1)', 'torchao==0.16 (requirements-dev.txt, line 1)']);
      assert.deepEqual(await found({ 'pyproject.toml': `${project}[project.optional-dependencies]\ngpu = ['torchao<0.15; python_version < "3.12"']\n[dependency-groups]\ndev = [{include-group = "x"}, "torchao"]\n` }), [undefined]);
      assert.deepEqual(await found({ 'requirements.txt': 'torchao==0.12', 'constraints.txt': 'torchao==0.16' }), [undefined]);
    });

    it('include other files of the same folder, each once', async () => {
      assert.deepEqual(await found({ 'requirements.txt': '-r deps/base.txt\n-r requirements.txt', 'deps/base.txt': '-r ../requirements.txt\ntorchao==0.12' }), ['torchao==0.12 (deps/base.txt, line 2)']);
      assert.deepEqual(await found({ 'app/requirements.txt': '-r ../outside.txt', 'outside.txt': 'torchao==0.12' }, 'app/config.json'), [undefined]);
      const chain = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`part${i}.txt`, `-r part${i + 1}.txt`]));
      assert.deepEqual(await found({ ...chain, 'requirements.txt': '-r part0.txt', 'part100.txt': 'torchao==0.12' }), [undefined]);
    });

    it('come from the nearest folder that says something, within the repository', async () => {
      const files = { 'requirements.txt': 'torchao==0.12', 'a/requirements.txt': 'numpy', 'a/b/config.json': '{}' };
      assert.deepEqual(await found(files, 'a/b/config.json'), ['torchao==0.12 (../../requirements.txt, line 1)']);
      assert.deepEqual(await found({ ...files, 'a/.git': 'gitdir: elsewhere' }, 'a/b/config.json'), [undefined]);
      assert.deepEqual(await found(files, '1/2/3/4/5/config.json'), ['torchao==0.12 (../../../../../requirements.txt, line 1)']);
      assert.deepEqual(await found(files, '1/2/3/4/5/6/config.json'), [undefined]);
    });

    it('are not those of the home folder', async () => {
      const variable = process.platform === 'win32' ? 'USERPROFILE' : 'HOME';
      const home = process.env[variable];
      try {
        const within = (place: string): void => { process.env[variable] = place; };
        assert.deepEqual(await found(installed('torchao-0.12.0', 'venv/lib/python3.12'), 'models/config.json', within), [undefined]);
        assert.deepEqual(await found({ 'models/requirements.txt': 'torchao==0.12' }, 'models/config.json', within), ['torchao==0.12 (requirements.txt, line 1)']);
      } finally {
        if (home !== undefined) {
          process.env[variable] = home;
        }
      }
    });

    it('are not known where a file is broken, too large, or no file', async () => {
      assert.deepEqual(await found({ 'pyproject.toml': '[project\ndependencies = ["torchao==0.12"]', 'uv.lock': `${lock(['torchao', '0.12'])}\n"` }), [undefined]);
      assert.deepEqual(await found({ 'pyproject.toml': 'project = "torchao"\ndependency-groups = 3\n', 'uv.lock': 'package = "torchao"' }), [undefined]);
      assert.deepEqual(await found({ 'requirements.txt': `${'# much\n'.repeat(1_500_000)}torchao==0.12`, 'poetry.lock': `${'# much\n'.repeat(1_500_000)}${lock(['torchao', '0.12'])}` }), [undefined]);
      assert.deepEqual(await found({ 'requirements.txt/x': '', '.venv': 'no folder' }), [undefined]);
    });

    it('end where links lead back', async () => {
      assert.deepEqual(await found({ 'requirements.txt': 'torchao==0.12' }, 'config.json', (place) => {
        symlinkSync('.', join(place, 'lib'));
        symlinkSync('.', join(place, '.venv'));
        symlinkSync('requirements-loop.txt', join(place, 'requirements-loop.txt'));
        mkdirSync(join(place, 'env'));
        symlinkSync('..', join(place, 'env/lib'));
      }), ['torchao==0.12 (requirements.txt, line 1)']);
    });
  });
});
