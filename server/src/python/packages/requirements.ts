/** The lines of a requirements file (pip's format, PEP 508): names and versions alone. */
import { normalized } from './allowed';

export interface Requirement { /** Normalised. */ name: string; /** As pip takes them: `>=0.9,<0.15`; empty for any version. */ specifiers: string }

export interface Requirements { /** Lines from 0 on. */ requirements: (Requirement & { line: number })[]; /** Other files, as they are named. */ included: string[]; constrained: string[] }

export function readRequirements(text: string): Requirements {
  const found: Requirements = { requirements: [], included: [], constrained: [] };
  let held = '';
  text.split(/\r?\n/).forEach((each, i) => {
    const line = held + each.replace(/(?:^|\s)#.*/, '');
    held = line.endsWith('\\') ? `${line.slice(0, -1)} ` : '';
    if (held !== '') {
      return; // the next line goes on
    }
    const [, option, other] = /^(-r|-c|--requirement|--constraint)[\s=]*(.+)$/.exec(line.trim()) ?? [];
    const read = requirement(line);
    if (option !== undefined && other !== undefined) {
      found[/^--?r/.test(option) ? 'included' : 'constrained'].push(other);
    } else if (read) {
      found.requirements.push({ ...read, line: i });
    }
  });
  return found;
}

/** `torchao[dev] >= 0.12, < 0.15 ; python_version < "3.12"`: a marker says where it holds, and is not asked. Of an address the name of a wheel says the version. */
export function requirement(text: string): Requirement | undefined {
  const tight = text.trim().replace(/\s+/g, ' '); // a long run of blanks would be divided in every way
  const [, name, rest = ''] = /^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?) ?(?:\[[^\]]*\])? ?([@(=<>!~;].*|--.*|)$/.exec(tight) ?? [];
  if (name === undefined) {
    return undefined; // an option, a path or an address without a name
  }
  const [, wheel] = /^@.*\/[^/-]+-([^/-]+)(?:-[^/-]+){3,4}\.whl/.exec(rest) ?? [];
  const written = rest.replace(/(?:^|\s)--.*/, '').replace(/;.*/, '').replace(/[()\s]/g, '');
  return { name: normalized(name), specifiers: wheel !== undefined ? `==${wheel.replace(/%2B/i, '+')}` : written.startsWith('@') ? '' : written };
}
