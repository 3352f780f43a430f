// Sliders that show their value, with a button that puts them back.

const at = (id) => document.getElementById(id);

// Set up sliders and their button, by their ids; returns what puts them back. ``changed`` is told of changes.
export function slide(ids, button, changed = () => {}) {
  const show = (id) => { document.querySelector(`output[for=${id}]`).value = `${Math.round(at(id).value * 100)} %`; };
  const reset = () => {
    for (const id of ids) {
      at(id).value = at(id).defaultValue;
      show(id);
    }
    changed();
  };
  for (const id of ids) {
    show(id);
    at(id).oninput = () => {
      show(id);
      changed();
    };
  }
  at(button).onclick = reset;
  return reset;
}
