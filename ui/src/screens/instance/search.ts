// What the URL says of the logs and the terminal of an instance. Pure: what makes no sense is read as if it were not there.

export interface InstanceSearch {
  container?: string;
  /** How many of the last lines are read first. */
  tail?: number;
  follow?: false;
  previous?: true;
  times?: true;
  find?: string;
  /** What a terminal is to run. It is only written there: that it runs takes a press. */
  command?: string;
}

const LETTERS_MAX = 2_000;
const TAIL_MAX = 100_000;

export function instanceSearch(search: Record<string, unknown>): InstanceSearch {
  const text = (name: string) => {
    const value = search[name];
    const said = typeof value === 'number' ? String(value) : value;
    return typeof said === 'string' && said !== '' && said.length <= LETTERS_MAX ? { [name]: said } : {};
  };
  const tail = Number(search['tail']);
  return {
    ...text('container'),
    ...text('find'),
    ...text('command'),
    ...(Number.isInteger(tail) && tail > 0 && tail <= TAIL_MAX ? { tail } : {}),
    ...(search['follow'] === false ? { follow: false } : {}),
    ...(search['previous'] === true ? { previous: true } : {}),
    ...(search['times'] === true ? { times: true } : {}),
  };
}
