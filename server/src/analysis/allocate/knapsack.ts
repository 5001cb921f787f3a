/** Multiple-choice knapsack: one option for each group, least total loss, bytes never above the budget. Two exact ways: a table over all budgets (frontier.ts) and a search for one (core.ts). */

/** bytes: a whole number. loss: finite, lower is better. */
export interface Option { bytes: number; loss: number }

/** The options of every group; a group has at least one. */
export type Groups = readonly (readonly Option[])[];

/** choices: index of the option, by group. */
export interface Solution { choices: number[]; bytes: number; loss: number }

/** bound: no choice within the budget has less loss; equal to the loss of an optimal solution. */
export interface Solved extends Solution { bound: number; exact: boolean }

/** Indices of the options that no other beats in both, by ascending bytes. */
export function undominated(options: readonly Option[]): number[] {
  const sorted = [...options.keys()].sort((a, b) => (options[a]?.bytes ?? 0) - (options[b]?.bytes ?? 0) || (options[a]?.loss ?? 0) - (options[b]?.loss ?? 0) || a - b);
  let least = Infinity;
  return sorted.filter((index) => {
    const { loss } = options[index] ?? { loss: Infinity };
    const better = loss < least;
    least = Math.min(least, loss);
    return better;
  });
}

export function solutionOf(groups: Groups, choices: number[]): Solution {
  const sum = (value: (option: Option) => number): number => choices.reduce((total, choice, group) => total + value(groups[group]?.[choice] ?? { bytes: 0, loss: 0 }), 0);
  return { choices, bytes: sum((option) => option.bytes), loss: sum((option) => option.loss) };
}
