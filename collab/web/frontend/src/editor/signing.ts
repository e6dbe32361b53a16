// Signing in, where the server asks for a token.

import { show } from '../shared/dialogs'
import { byId } from '../shared/elements'
import { dropToken, keepToken, tokenHere } from './address'

/** Ask for a token; returns when there is one. */
export const askToken = (why: string): Promise<void> => {
  const dialog = byId<HTMLDialogElement>('sign-in')
  const input = byId<HTMLInputElement>('token')
  byId('sign-in-text').textContent = why
  input.value = ''
  show(dialog)
  return new Promise(resolve => {
    // Without a token there is nothing here to go back to.
    dialog.oncancel = event => event.preventDefault()
    byId<HTMLFormElement>('sign-in-form').onsubmit = event => {
      event.preventDefault()
      keepToken(input.value)
      dialog.close()
      resolve()
    }
  })
}

/** Offer to forget the token, and first of all what this device has of the document. */
export const offerSignOut = (forget: () => Promise<void>): void => {
  const button = byId('sign-out')
  button.hidden = tokenHere() === null
  button.onclick = async () => {
    await forget()
    signInAnew()
  }
}

/** Begin again without a token. */
export const signInAnew = (): void => {
  dropToken()
  location.reload()
}
