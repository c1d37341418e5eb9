// What jsdom lacks of a browser, as far as the page needs it.
import { cleanup, configure } from '@testing-library/react';
import { afterEach, vi } from 'vitest';

// Deadlines for a machine that does other things as well; what is there is found at once.
configure({ asyncUtilTimeout: 15_000 });

class Observer {
  observe() {}
  unobserve() {}
  disconnect() {}
}
vi.stubGlobal('ResizeObserver', Observer);
window.matchMedia = ((query: string) => ({
  matches: false,
  media: query,
  addEventListener() {},
  removeEventListener() {},
  addListener() {},
  removeListener() {},
})) as unknown as typeof window.matchMedia;
// Sheets made by script, as the terminal has them: what they say is not looked at here.
CSSStyleSheet.prototype.replaceSync = () => undefined;
document.adoptedStyleSheets = [];
Element.prototype.scrollIntoView = () => undefined;
Element.prototype.hasPointerCapture = () => false;
window.scrollTo = () => undefined;
HTMLCanvasElement.prototype.getContext = () => null;
HTMLDialogElement.prototype.showModal = function show(this: HTMLDialogElement) {
  this.open = true;
};
HTMLDialogElement.prototype.close = function close(this: HTMLDialogElement) {
  this.open = false;
};

afterEach(() => {
  cleanup();
  localStorage.clear();
});
