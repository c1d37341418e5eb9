// What went wrong, said for people. Every refusal of the plane is a `Status` of Kubernetes; what never reached it is a
// `Lost`. Nothing else is thrown by this folder.

export interface FieldCause {
  field: string;
  message: string;
  reason: string;
}

/** The plane answered, and refused. */
export class Refused extends Error {
  readonly code: number;
  readonly reason: string;
  readonly causes: FieldCause[];
  constructor(code: number, reason: string, message: string, causes: FieldCause[] = []) {
    super(message);
    this.name = 'Refused';
    this.code = code;
    this.reason = reason;
    this.causes = causes;
  }
}

/** The plane was not reached, or what answered was not it. */
export class Lost extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Lost';
  }
}

export const isConflict = (error: unknown): error is Refused =>
  error instanceof Refused && error.code === 409;
export const isMissing = (error: unknown): error is Refused => error instanceof Refused && error.code === 404;
export const isUnknownCaller = (error: unknown): error is Refused =>
  error instanceof Refused && error.code === 401;

interface StatusBody {
  kind?: string;
  message?: string;
  reason?: string;
  code?: number;
  details?: { causes?: Partial<FieldCause>[] };
}

/** The refusal that an answer is. */
export function refusal(code: number, body: string): Refused {
  let status: StatusBody = {};
  try {
    status = JSON.parse(body) as StatusBody;
  } catch {
    // What is in front of the plane answers in its own words.
  }
  const causes = (status.details?.causes ?? []).map((cause) => ({
    field: cause.field ?? '',
    message: cause.message ?? '',
    reason: cause.reason ?? '',
  }));
  const message = status.message ?? (body.slice(0, 300).trim() || `The plane answered ${code}.`);
  return new Refused(code, status.reason ?? '', message, causes);
}

/** What to do about it, in a sentence; empty when the message says it. */
export function remedy(error: unknown): string {
  if (error instanceof Lost) return 'This page tries again by itself. What is shown is what was last seen.';
  if (!(error instanceof Refused))
    return 'Reload the page. If it comes again, it is a mistake of the page itself.';
  if (error.code === 401) return 'Log in again.';
  if (error.code === 403) return 'Ask whoever administers the namespace for a role that allows it.';
  if (error.code === 404) return 'It may have been deleted, or you may not see it.';
  if (error.code === 409) return 'Somebody else changed it meanwhile: look at theirs, and try again.';
  if (error.code === 429 || error.code === 503) return 'The plane is busy: try again in a moment.';
  return '';
}

/** Retries only what may pass by itself. */
export function worthRetrying(failures: number, error: unknown): boolean {
  if (error instanceof Lost) return failures < 2;
  return error instanceof Refused && (error.code === 429 || error.code === 503) && failures < 3;
}
