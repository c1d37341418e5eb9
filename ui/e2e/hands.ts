// How somebody works the page: with a pointer, or by keyboard alone. A flow is told once, and done by either.
import type { Locator } from 'playwright-core';

export interface Hands {
  name: string;
  press(target: Locator): Promise<void>;
  fill(target: Locator, text: string): Promise<void>;
  /** The option with this value or text. */
  select(target: Locator, option: string): Promise<void>;
}

export const pointer: Hands = {
  name: 'with a pointer',
  press: (target) => target.click(),
  fill: (target, text) => target.fill(text),
  select: async (target, option) => void (await target.selectOption(option)),
};

/** As many as the longest screen has to tab through, with room. */
const TABS_MAX = 400;
const ITEMS_MAX = 60;

/** Whether it has the focus, also within a part of the page that has a root of its own, as the editor. */
const focused = (target: Locator) =>
  target.evaluate((element) => (element.getRootNode() as Document | ShadowRoot).activeElement === element);

/** Moves the focus there as people do: by Tab, and within a menu by its arrows. */
async function reach(target: Locator): Promise<void> {
  await target.waitFor();
  const role = await target.getAttribute('role');
  const [key, most] = role === 'menuitem' ? ['ArrowDown', ITEMS_MAX] : ['Tab', TABS_MAX];
  const { keyboard } = target.page();
  for (let pressed = 0; pressed <= most; pressed += 1) {
    if (await focused(target)) return;
    await keyboard.press(key);
  }
  throw new Error(`${key} does not come to ${target.toString()}`);
}

export const keyboard: Hands = {
  name: 'by keyboard alone',
  press: async (target) => {
    await reach(target);
    // A pointer waits for that as well.
    await target.and(target.page().locator(':not([aria-disabled=true])')).waitFor();
    const marked = await target.evaluate((element) =>
      element.matches('input[type=checkbox], input[type=radio]'),
    );
    await target.page().keyboard.press(marked ? 'Space' : 'Enter');
  },
  fill: async (target, text) => {
    await reach(target);
    await target.page().keyboard.press('Control+a');
    await target.page().keyboard.type(text);
  },
  select: async (target, option) => {
    await reach(target);
    // A list takes letters as they come, and begins anew after a pause.
    await target.page().keyboard.type(option);
    await target.page().waitForFunction(
      ([element, wanted]) => {
        const chosen = (element as HTMLSelectElement).selectedOptions[0];
        return chosen?.value === wanted || chosen?.text === wanted;
      },
      [await target.elementHandle(), option] as const,
    );
  },
};
