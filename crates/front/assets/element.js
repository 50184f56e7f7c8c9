// Makes elements. Text from anywhere becomes text nodes and nothing else: there is no way here to write markup.

/** `element('td', {class: 'n', onclick: f}, 'text', child, [more])`; null children and false attributes are left out. */
export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (key in FIELDS) made[FIELDS[key]] = value;
    else made.setAttribute(key, value === true ? '' : String(value));
  }
  add(made, children);
  return made;
}

// What is set on the element and not as an attribute.
const FIELDS = { value: 'value', checked: 'checked', disabled: 'disabled' };

function add(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) add(parent, child);
    else parent.append(child instanceof Node ? child : String(child));
  }
}

/** Puts other children in the place of what is there. Whoever was on one of them is on its successor afterwards. */
export function fill(parent, ...children) {
  const at = document.activeElement;
  const held = at !== parent && parent.contains(at) ? same(at) : null;
  parent.replaceChildren();
  add(parent, children);
  if (held) [...parent.querySelectorAll('a, button, input, select, [tabindex]')].find((one) => same(one) === held)?.focus({ preventScroll: true });
}

const same = (one) => [one.localName, one.id, one.dataset.copy, one.getAttribute('href'), one.getAttribute('aria-label') ?? one.textContent].join('\n');

const told = new WeakMap();

/** `fill`, unless what is told (any JSON) is what was told there last: what did not change is left alone. */
export function tell(parent, what, ...children) {
  const text = JSON.stringify(what);
  if (told.get(parent) === text) return;
  told.set(parent, text);
  fill(parent, ...children.map((child) => (typeof child === 'function' ? child() : child)));
}

/** A table of at most so many rows, and a word about the others. */
export function bounded(label, columns, rows, most) {
  const more = rows.length - most;
  return [table(label, columns, rows.slice(0, most)), more > 0 ? element('p', { class: 'faint' }, `and ${more} more`) : null];
}

/**
 * A table that is read as one also where it is shown as cards. Columns are `{name, number?, wide?}`, rows are
 * lists of cells; `label` is what the table is about.
 */
export function table(label, columns, rows) {
  const head = columns.map((column) =>
    element('th', { scope: 'col', role: 'columnheader', class: column.number && 'n' }, column.name));
  const line = (cells) => element('tr', { role: 'row' }, cells.map((cell, at) => {
    const { name, number, wide } = columns[at];
    const kind = [number && 'n', wide && 'wide'].filter(Boolean).join(' ');
    return element('td', { role: 'cell', 'data-name': name, class: kind || null }, element('span', null, cell));
  }));
  return element('table', { role: 'table', 'aria-label': label },
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, head)),
    element('tbody', { role: 'rowgroup' }, rows.map(line)));
}

/** A heading, and beside it what can be done there. */
export function heading(title, ...beside) {
  return element('div', { class: 'heading' }, element('h2', null, title), ...beside);
}

/** What to do where there is nothing yet: a sentence and the command that changes that. */
export function empty(sentence, ...commands) {
  return element('div', { class: 'empty' }, element('p', null, sentence),
    commands.map((command) => element('pre', { class: 'command', tabindex: '0' }, command)));
}

/** A failure: what is wrong, the next step, and the code to look up. */
export function trouble(error) {
  return element('div', { class: 'trouble', role: 'alert' },
    element('p', null, element('strong', null, error.message || 'It failed.'), ' ',
      error.code && element('code', null, error.code)),
    error.hint && element('p', null, error.hint));
}

/** Arrow keys move through the elements of a list that match; only one of them is a stop of the Tab key. */
export function walk(list, which) {
  const items = () => [...list.querySelectorAll(which)];
  list.addEventListener('focusin', (event) => {
    const at = event.target.closest(which);
    if (at) for (const item of items()) item.tabIndex = item === at ? 0 : -1;
  });
  list.addEventListener('keydown', (event) => {
    const all = items();
    const at = all.indexOf(event.target.closest(which));
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    all[Math.max(0, Math.min(next, all.length - 1))].focus();
  });
}
