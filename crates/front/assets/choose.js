// Choosing a space and a collection: two fields that are filled from the database and tell what was chosen.

import { element, fill } from '/assets/element.js';
import { plain, short } from '/assets/show.js';

// More are reached by their name in the address of the page.
const OFFERED = 1000;

/** A labelled field. */
export function field(label, input, wide) {
  return element('label', { class: wide ? 'field wide' : 'field' }, element('span', null, label), input);
}

/**
 * A choice of a space, and of a collection if `deep`. `load(place)` fills it and gives what is chosen then: what the place
 * says, else the first there is.
 */
export function chooser(app, chosen, deep = true) {
  const space = element('select', { name: 'space', onchange: other });
  const collection = element('select', { name: 'collection', onchange: () => chosen({ space: space.value, collection: collection.value }) });

  // The collections of one space are not those of another: nothing is chosen until they are known.
  function other() {
    offer(collection, []);
    chosen({ space: space.value, collection: '' });
  }

  async function load(place) {
    const spaces = await app.call('spaces');
    const here = spaces.find((one) => one.space === place.space || one.name === place.space) ?? spaces[0];
    offer(space, [...new Set([...spaces.slice(0, OFFERED), ...(here ? [here] : [])])].map((one) => [one.space, title(one, spaces)]), here?.space);
    if (!here || !deep) return { space: here?.space, spaces };
    const all = await app.call('collections', { space: here.space });
    const collections = all.slice(0, OFFERED).map((one) => one.collection);
    // A collection that is not here may be meant: then the answer says so.
    const one = place.collection || collections[0];
    if (one && !collections.includes(one)) collections.push(one);
    offer(collection, collections.map((name) => [name, plain(name)]), one);
    return { space: here.space, collection: one, spaces };
  }
  const parts = [field('Space', space)];
  if (deep) parts.push(field('Collection', collection));
  return { parts, load };
}

function offer(select, options, chosen) {
  const said = JSON.stringify(options);
  if (select.dataset.said !== said) {
    select.dataset.said = said;
    fill(select, options.map(([value, text]) => element('option', { value }, text)));
  }
  if (chosen !== undefined) select.value = chosen;
  select.disabled = options.length === 0;
}

// Names are local and may be given twice; then the id tells them apart.
function title(one, spaces) {
  const alone = one.name && spaces.filter((other) => other.name === one.name).length === 1;
  return alone ? plain(one.name) : `${plain(one.name) || 'unnamed'} · ${short(one.space)}`;
}
