/** A place in a nested text that is being scanned for its cursor: a path, and what was met there. One object for each path. */
export type Step = string | number;

export class Place {
  /** Keys of the mapping that stands here. */
  readonly keys: string[] = [];
  /** Scalars here, or in the list that stands here. */
  readonly items: string[] = [];
  private readonly children = new Map<Step, Place>();

  private constructor(private readonly parent: Place | undefined, private readonly step: Step) {}

  static root(): Place { return new Place(undefined, ''); }

  child(step: Step): Place {
    const known = this.children.get(step) ?? new Place(this, step);
    this.children.set(step, known);
    return known;
  }

  /** The list that this is an item of, or else this itself. */
  get list(): Place { return typeof this.step === 'number' && this.parent ? this.parent : this; }

  path(): Step[] {
    return this.parent ? [...this.parent.path(), this.step] : [];
  }
}
