// An element with its properties and children; text is always text, never markup.
export function element(kind, properties = {}, children = []) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

export const find = (id) => document.getElementById(id);
