/** What a run of deepcompressor leaves beside its config, by the names of files (deepcompressor 0.1.0, `ptq` and `backend/nunchaku/convert.py`). */
import type { Range } from '../../../protocol';
import { problem } from '../dialect';
import type { DialectProblem } from '../dialect';

/** What a run finds, in the order in which it is saved. */
const settings = ['smooth.pt', 'branch.pt', 'wgts.pt', 'acts.pt'];

/** @param files beside the config and one folder below: a run leaves its results in "model" or "cache" beside the copy of its config. @param name of the config. */
export function outputTraps(files: readonly string[], name: string, range: Range): DialectProblem[] {
  const folders = [...new Set(files.map((path) => path.slice(0, path.lastIndexOf('/') + 1)))];
  return [...folders.flatMap((folder) => ofFolder(folder, files, range)),
    ...files.includes('__default__.yaml') && name !== '__default__.yaml' ? [problem('deepcompressor/merged', 'hint', range,
      'deepcompressor merges the __default__.yaml beside this file before it, and those of the folders above down from the working directory: what this file leaves out is as they say.')] : []];
}

/** @param folder empty, or with a slash behind it */
function ofFolder(folder: string, files: readonly string[], range: Range): DialectProblem[] {
  const found = settings.filter((each) => files.includes(folder + each));
  const missing = ['model.pt', 'scale.pt'].filter((each) => !files.includes(folder + each));
  if (missing.length === 0) {
    return [problem('deepcompressor/float-model', 'info', range, `${folder}model.pt stays floating point by design, and wgts.pt holds settings of ranges alone, which may be empty: the run did not fail. Codes are made of model.pt and scale.pt by ` +
      `python -m deepcompressor.backend.nunchaku.convert --quant-path ${folder || '.'} (FLUX alone).`)];
  }
  return found.length === 0 ? [] : [problem('deepcompressor/not-saved', 'warning', range,
    `${folder}${found.join(`, ${folder}`)} ${found.length === 1 ? 'is' : 'are'} of a run, but without ${missing.join(' and ')}, which nunchaku's converter reads. Run it again with --save-model true; with --load-from ${folder || '.'} it starts from these.`)];
}
