// What is said to the user has to be above an open dialog, and in it: all that is outside is out of reach then, for the
// mouse and for screen readers alike.

/** Where something belongs that is to be seen and heard now: in the dialog that is open, or in the page. */
const top = (): HTMLElement => [...document.querySelectorAll<HTMLElement>('dialog:modal')].at(-1) ?? document.body

/** Move an element there. */
export const bringUp = <T extends HTMLElement>(element: T): T => {
  const place = top()
  if (element.parentElement !== place) place.append(element)
  return element
}

/** Take up again what a dialog that has closed has left behind. */
export const takeUp = (dialog: HTMLDialogElement): void => {
  for (const element of dialog.querySelectorAll<HTMLElement>(':scope > [aria-live]')) bringUp(element)
}
