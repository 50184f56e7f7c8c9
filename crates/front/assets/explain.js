// Why a document is, or is not, here and at a peer: the chain of decisions, and where it stops.

import { chooser, field } from '/assets/choose.js';
import { element, empty, fill, tell, trouble } from '/assets/element.js';
import { meant } from '/assets/key.js';
import { advice, plain, sentence, short } from '/assets/show.js';

const CALM = 1000;

export function explain(app, scope) {
  const choice = chooser(app, (chosen) => app.go({ ...read(), ...chosen, view: 'explain' }));
  const id = element('input', { name: 'id', id: 'query', autocomplete: 'off', spellcheck: 'false', placeholder: 'the _id of the document' });
  const known = element('datalist', { id: 'known-peers' });
  const peer = element('input', { name: 'peer', list: 'known-peers', autocomplete: 'off', spellcheck: 'false', placeholder: 'here only' });
  const answer = element('div', { class: 'answer', 'aria-live': 'polite' });
  const form = element('form', { class: 'ask' }, choice.parts, field('Document', id), field('Peer', peer), known,
    element('button', { class: 'first' }, 'Explain'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    app.go({ ...read(), view: 'explain' });
  });
  const page = element('div', { class: 'explaining' }, element('h1', null, 'Why is it there, or not?'), form, answer);
  let asked = 0;

  const read = () => {
    const [space, collection] = ['space', 'collection'].map((name) => form.elements[name].value);
    return { space, collection, id: id.value.trim(), peer: peer.value.trim() };
  };

  async function update(place) {
    const mine = ++asked;
    if (document.activeElement !== id) id.value = place.id ?? '';
    if (document.activeElement !== peer) peer.value = place.peer ?? '';
    try {
      const [chosen, peers] = await Promise.all([choice.load(place), app.call('peers').catch(() => [])]);
      if (mine !== asked) return;
      fill(known, peers.map((one) => element('option', { value: one.peer }, plain(one.name ?? short(one.peer)))));
      if (!chosen.space) return tell(answer, 'no space', empty('There is no space yet.', 'driftless space create notes'));
      if (!place.id) return tell(answer, 'nothing asked', empty('Name a document, and a peer if it is missing there. The same from a terminal:', 'driftless explain SPACE COLLECTION ID --peer PEER'));
      const question = { space: chosen.space, collection: chosen.collection ?? '', id: meant(place.id) };
      if (place.peer) question.peer = place.peer;
      const told = await app.call('explain', question);
      if (mine === asked) tell(answer, told, () => chain(told));
    } catch (error) {
      if (mine === asked && error.code !== 'disconnected') tell(answer, String(error), trouble(error));
    }
  }
  // Looking through the log takes the database a while.
  const again = scope.calm(CALM, () => update(app.place));
  scope.on('signal', ({ space, collections }) => {
    if (!space || (space === form.elements.space.value && (!collections || collections.includes(form.elements.collection.value)))) again();
  });
  scope.on('state', (state) => { if (state === 'open') update(app.place); });
  return { page, update };
}

function chain(told) {
  const stop = told.steps.findIndex((step) => !step.ok);
  const steps = told.steps.map((step, at) => {
    const first = at === stop;
    const word = step.ok ? 'well' : first ? 'here it stops' : 'not well';
    return element('li', { 'data-ok': String(step.ok), class: first ? 'stop' : null, 'aria-current': first ? 'step' : null },
      element('span', { class: 'sign', 'aria-hidden': 'true' }, step.ok ? '✓' : '✕'),
      element('div', null,
        element('p', { class: 'step' }, plain(step.step), element('span', { class: 'verdict' }, word)),
        element('p', { class: 'detail' }, sentence(step.detail)),
        first && told.fix ? fix(told.fix) : null));
  });
  const sum = told.ok ? 'Nothing stands in the way.' : `It stops at “${plain(told.steps[stop]?.step ?? '')}”.`;
  return [element('p', { class: 'state', 'data-ok': String(told.ok) }, sum), element('ol', { class: 'chain' }, steps),
    told.fix && stop < 0 ? fix(told.fix) : null];
}

const fix = (text) => element('p', { class: 'fix' }, element('strong', null, 'To do: '), advice(text));
