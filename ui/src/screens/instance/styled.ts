// xterm.js styles itself by `<style>` elements and by attributes in its markup, which the content security policy refuses.
// Given this document in place of the page's, it does the same through the object model, which the policy allows.
// It is handed to xterm.js alone, and changes nothing of the page's own.

/** What is put into the element becomes a sheet made by script, and goes with it. It is itself never part of the page. */
function adopt(real: Document, style: HTMLStyleElement): void {
  const sheet = new CSSStyleSheet();
  real.adoptedStyleSheets.push(sheet);
  Object.defineProperty(style, 'textContent', { set: (text: string) => sheet.replaceSync(text) });
  style.remove = () => {
    real.adoptedStyleSheets = real.adoptedStyleSheets.filter((each) => each !== sheet);
  };
}

function create(real: Document, name: string, options?: ElementCreationOptions): HTMLElement {
  const element = real.createElement(name, options);
  element.setAttribute = (attribute: string, value: string) => {
    if (attribute === 'style') element.style.cssText = value;
    else Element.prototype.setAttribute.call(element, attribute, value);
  };
  element.appendChild = <T extends Node>(child: T): T => {
    if (!(child instanceof HTMLStyleElement)) return Node.prototype.appendChild.call(element, child) as T;
    adopt(real, child);
    return child;
  };
  return element;
}

export function styledByScript(real: Document): Document {
  return new Proxy(real, {
    get(target, key) {
      if (key === 'createElement')
        return (name: string, options?: ElementCreationOptions) => create(target, name, options);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

interface Inside {
  _core?: { _renderService?: { _renderer?: { value?: { _rowFactory?: { _document: Document } } } } };
}

/**
 * Whatever it was given, xterm.js 6.0 makes its rows by the page's document, and has no setting for that: it is told by names
 * of its own. Its version is fixed, and the screens' tests see what the policy refuses.
 */
export function giveRows(terminal: object, own: Document): void {
  const rows = (terminal as Inside)._core?._renderService?._renderer?.value?._rowFactory;
  if (rows) rows._document = own;
}
