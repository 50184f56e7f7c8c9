// The documents of a collection that match a query, a page at a time and live, and one of them beside the list.

import { chooser, field } from '/assets/choose.js';
import { reading } from '/assets/document.js';
import { element, empty, fill, trouble, walk } from '/assets/element.js';
import { filter, meant, same, word } from '/assets/key.js';
import { age, line, number, plain } from '/assets/show.js';

const PAGE = 50;
// A watch begins with everything that matches, so only results of at most so many are watched; others are looked at again
// when a signal says so.
const WATCHED = 1000;
const CALM = 40;
const FIELDS = ['space', 'collection', 'filter', 'sort', 'deleted', 'skip'];

export function documents(app, scope) {
  const choice = chooser(app, (chosen) => app.go({ ...chosen, view: 'documents' }));
  const query = element('input', { id: 'query', name: 'filter', class: 'code', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', placeholder: '{}', title: 'A filter in MongoDB’s language' });
  const sort = element('input', { name: 'sort', class: 'code', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', placeholder: '-_updated' });
  const deleted = element('input', { type: 'checkbox', name: 'deleted' });
  const form = element('form', { class: 'ask' }, choice.parts, field('Filter', query, true), field('Sort', sort),
    element('label', { class: 'check' }, deleted, 'deleted too'), element('button', { class: 'first' }, 'Find'));
  const list = element('ul', { class: 'found', 'aria-label': 'Documents' });
  const above = element('div', { class: 'pager' });
  const note = element('div');
  const one = reading(app, () => shut());
  const split = element('div', { class: 'split' }, element('div', { class: 'side' }, above, note, list), one.page);
  const page = element('div', { class: 'documents' }, element('h1', { class: 'unseen' }, 'Documents'), form, split);
  const drawn = new Map();
  let now = {};
  let asked = '';
  let turn = 0;
  let total = 0;
  let timer = null;
  let unwatch = null;
  let live = false;
  let touched = new Set();

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const [space, collection] = ['space', 'collection'].map((name) => form.elements[name].value);
    const place = { view: 'documents', space, collection, filter: query.value.trim(), sort: sort.value.trim(), deleted: deleted.checked ? 1 : '' };
    // The same question again is a new look at it.
    asked = '';
    app.go(place);
  });
  walk(list, 'a');

  async function update(place) {
    now = place;
    split.classList.toggle('open', Boolean(place.id));
    for (const [input, name] of [[query, 'filter'], [sort, 'sort']]) {
      if (document.activeElement !== input || place[name]) input.value = place[name] ?? '';
    }
    deleted.checked = Boolean(place.deleted);
    const key = JSON.stringify(FIELDS.map((name) => place[name]));
    if (key !== asked) {
      asked = key;
      await begin(place);
    }
    mark();
  }

  async function begin(place) {
    const mine = ++turn;
    unwatch?.();
    unwatch = null;
    clearTimeout(timer);
    timer = null;
    live = false;
    try {
      const chosen = await choice.load(place);
      if (mine !== turn) return;
      if (!chosen.space) return nothing(empty('There is no space yet.', 'driftless space create notes'));
      if (!chosen.collection) return nothing(empty('No document is in this space yet.', 'driftless insert SPACE shopping \'{"title": "Milk"}\''));
      now = { ...place, space: chosen.space, collection: chosen.collection };
      const question = { space: now.space, collection: now.collection, filter: filter(place.filter ?? '') };
      await look(question, mine);
      if (mine === turn && total <= WATCHED && !place.deleted) watch(question, mine);
    } catch (error) {
      if (mine === turn && error.code !== 'disconnected') nothing(trouble(error));
    }
  }

  async function look(question, mine) {
    const place = now;
    const skip = Number(place.skip) || 0;
    const deep = place.deleted ? { deleted: true } : {};
    const find = { ...question, ...deep, limit: PAGE };
    if (skip) find.skip = skip;
    if (place.sort) find.sort = place.sort;
    const [found, counted] = await Promise.all([app.call('find', find), app.call('count', { ...question, ...deep })]);
    if (mine !== turn) return;
    total = counted.count;
    draw(found, skip);
  }

  function watch(question, mine) {
    unwatch = scope.stream('watch', question, {
      event(event) {
        if (mine !== turn) return;
        if (event.kind === 'ready') {
          live = true;
          status();
          again(question, mine);
        } else if (live) {
          touched.add(JSON.stringify(event.id));
          again(question, mine);
        }
      },
      began() { live = false; },
      failed() { live = false; status(); },
    });
  }

  // Changes come in bursts; one look follows them.
  function again(question, mine) {
    if (timer) return;
    timer = setTimeout(() => {
      timer = null;
      look(question, mine).catch((error) => { if (mine === turn && error.code !== 'disconnected') nothing(trouble(error)); });
    }, CALM);
  }

  scope.on('signal', (signal) => {
    const ours = !signal.space || (signal.space === now.space && (!signal.collections || signal.collections.includes(now.collection)));
    // The first document of a space, or the first space.
    if (!now.collection) return void begin(now).then(mark);
    if (!ours) {
      if (signal.space === form.elements.space.value) choice.load(now).catch(() => {});
      return;
    }
    if (now.id) one.changed();
    if (!live) lookAgain();
  });
  scope.on('state', (state) => { if (state === 'open' && now.view) begin(now).then(mark); });

  function lookAgain() {
    const mine = turn;
    try {
      again({ space: now.space, collection: now.collection, filter: filter(now.filter ?? '') }, mine);
    } catch {
      // The filter was told to be none already.
    }
  }

  function nothing(shown) {
    total = 0;
    drawn.clear();
    fill(list);
    fill(above);
    fill(note, shown);
  }

  function draw(found, skip) {
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const keys = new Set();
    const items = found.map((one) => {
      const key = JSON.stringify(one._id);
      keys.add(key);
      const item = drawn.get(key) ?? make(one, key);
      const text = JSON.stringify(one);
      if (item.text !== text) paint(item, one, text);
      if (touched.has(key)) flash(item.link);
      return item.row;
    });
    touched = new Set();
    for (const key of drawn.keys()) if (!keys.has(key)) drawn.delete(key);
    list.replaceChildren(...items);
    if (focused) drawn.get(focused)?.link.focus({ preventScroll: true });
    else list.querySelectorAll('a').forEach((link, at) => { link.tabIndex = at ? -1 : 0; });
    fill(note, found.length ? null : total ? empty('This page is behind the last document.') : none());
    status(found.length, skip);
    mark();
  }

  const none = () => (now.filter ? empty('No document matches. Explain says why one that you expect is not here.', 'driftless explain SPACE COLLECTION ID') : empty('This collection has no document.', 'driftless insert SPACE COLLECTION \'{"title": "Milk"}\''));

  function make(document, key) {
    const link = element('a', { 'data-key': key, onclick: () => one.focusNext() });
    const item = { link, row: element('li', null, link), text: null };
    drawn.set(key, item);
    return item;
  }

  function paint(item, found, text) {
    item.text = text;
    const fields = Object.fromEntries(Object.entries(found).filter(([name]) => !name.startsWith('_')));
    item.link.href = app.address({ ...now, view: 'documents', id: word(found._id) });
    fill(item.link, element('span', { class: 'name' }, plain(word(found._id)), found._deleted ? element('span', { class: 'tag' }, 'deleted') : null),
      element('span', { class: 'when' }, age(found._updated)), element('span', { class: 'preview' }, line(fields)));
  }

  function flash(link) {
    link.classList.remove('fresh');
    // Asking for the width lets the animation begin anew.
    void link.offsetWidth;
    link.classList.add('fresh');
  }

  function status(shown = drawn.size, skip = Number(now.skip) || 0) {
    const turnTo = (to, text, name) => element('a', { class: 'turn', 'aria-label': name, href: to === null ? null : app.address({ ...now, id: '', skip: to || '' }), 'aria-disabled': to === null ? 'true' : null }, text);
    const range = shown ? `${number(skip + 1)} to ${number(skip + shown)} of ${number(total)}` : number(total);
    fill(above, element('span', { 'aria-live': 'polite' }, range), element('span', { class: 'dot', 'data-on': String(live) }, live ? 'live' : 'by signal'),
      turnTo(skip ? Math.max(0, skip - PAGE) : null, '←', 'The page before'), turnTo(skip + shown < total && shown ? skip + PAGE : null, '→', 'The next page'));
  }

  // Which of them is open, and all links with the place as it is now.
  function mark() {
    const id = now.id ? meant(now.id) : null;
    for (const item of drawn.values()) {
      const own = JSON.parse(item.link.dataset.key);
      item.link.href = app.address({ ...now, view: 'documents', id: word(own) });
      if (id !== null && same(own, id)) item.link.setAttribute('aria-current', 'true');
      else item.link.removeAttribute('aria-current');
    }
    split.classList.toggle('open', id !== null);
    if (id === null) one.close();
    else if (now.space && now.collection) one.open(now.space, now.collection, id);
  }

  function shut() {
    const { id } = now;
    app.go({ ...now, view: 'documents', id: '' });
    if (id) drawn.get(JSON.stringify(meant(id)))?.link.focus();
  }

  function key(event) {
    if (event.key === 'Escape' && now.id) shut();
    else if (event.key === 'ArrowDown' && !list.contains(document.activeElement) && !one.page.contains(document.activeElement)) {
      const first = list.querySelector('a');
      if (!first) return;
      event.preventDefault();
      first.focus();
    }
  }
  return { page, update, key };
}
