// Signing in, where the server asks for a token.

import { show } from '../shared/dialogs'
import { byId } from '../shared/elements'
import { dropToken, keepToken, tokenHere } from './address'
import { hideNotice, showNotice } from './notice'

/** Ask for a token; returns when there is one. */
export const askToken = (why: string): Promise<void> => {
  const dialog = byId<HTMLDialogElement>('sign-in')
  const input = byId<HTMLInputElement>('token')
  byId('sign-in-text').textContent = why
  input.value = ''
  show(dialog)
  return new Promise(resolve => {
    dialog.onclose = () => showNotice({
      title: 'You are not signed in',
      text: 'This document is only shown to who has a token for it.',
      actions: [['Sign in', () => show(dialog)]]
    })
    byId<HTMLFormElement>('sign-in-form').onsubmit = event => {
      event.preventDefault()
      keepToken(input.value)
      dialog.onclose = null
      dialog.close()
      hideNotice()
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
