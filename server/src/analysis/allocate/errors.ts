/** An allocation that cannot be, with the reason and what to do. */
export class AllocationError extends Error {}
