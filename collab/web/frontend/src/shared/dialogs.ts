// Dialogs: opened from a button, to which the focus returns; closed by their buttons, by Escape, and by a click beside them.

import { takeUp } from './above'

/** Open a dialog, if it is not. */
export const show = (dialog: HTMLDialogElement): void => {
  if (!dialog.open) dialog.showModal()
}

/** Let a dialog be closed by its buttons with `data-close`, and, if it may be left so, by a click beside it. */
export const closable = (dialog: HTMLDialogElement): void => {
  for (const button of dialog.querySelectorAll('[data-close]')) button.addEventListener('click', () => dialog.close())
  dialog.addEventListener('close', () => takeUp(dialog))
  dialog.addEventListener('pointerdown', event => {
    if (event.target === dialog && isBeside(dialog, event)) dialog.close()
  })
}

const isBeside = (dialog: HTMLElement, { clientX, clientY }: PointerEvent): boolean => {
  const { left, right, top, bottom } = dialog.getBoundingClientRect()
  return clientX < left || clientX > right || clientY < top || clientY > bottom
}

/** Let `button` open a dialog, which it could not before; what `onOpen` does is done first. */
export const opens = (button: HTMLButtonElement, dialog: HTMLDialogElement, onOpen: () => void = () => {}): void => {
  closable(dialog)
  button.disabled = false
  button.addEventListener('click', () => {
    onOpen()
    show(dialog)
  })
}
