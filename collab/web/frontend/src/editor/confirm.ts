// A question before something is done that is not undone by a key.

import { closable, show } from '../shared/dialogs'
import { byId } from '../shared/elements'

const dialog = byId<HTMLDialogElement>('confirm')
let answer: (yes: boolean) => void = () => {}

closable(dialog)
byId('confirm-yes').addEventListener('click', () => dialog.close('yes'))
dialog.addEventListener('close', () => answer(dialog.returnValue === 'yes'))

/** Ask; whether the answer is yes. */
export const confirmed = (title: string, text: string, yes: string): Promise<boolean> => {
  byId('confirm-title').textContent = title
  byId('confirm-text').textContent = text
  byId('confirm-yes').textContent = yes
  dialog.returnValue = ''
  show(dialog)
  return new Promise(resolve => { answer = resolve })
}
