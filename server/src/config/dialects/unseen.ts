/** Known traps that no file of a tool shows, and why; docs/dialects.md lists them, so that a clean lint is not taken for more than it is. */
export interface UnseenTrap { id: string; tool: string; trap: string; why: string }

export const unseenTraps: readonly UnseenTrap[] = [
];
