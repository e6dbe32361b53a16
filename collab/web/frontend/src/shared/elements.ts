// Elements of the page: found by what they are called, made with what is in them. Text goes in as text, never as HTML.

/** The element with an id, which the page's HTML has. */
export const byId = <T extends HTMLElement = HTMLElement>(id: string): T => {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found as T
}

/** A new element with a class and what is in it. */
export const make = <K extends keyof HTMLElementTagNameMap>(
  tag: K, className = '', ...inside: (Node | string)[]
): HTMLElementTagNameMap[K] => {
  const made = document.createElement(tag)
  if (className) made.className = className
  made.append(...inside)
  return made
}
