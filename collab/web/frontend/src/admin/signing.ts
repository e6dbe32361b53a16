// Signing in: with a token, or by the link that `collab dashboard` prints; and out.

import { byId } from '../shared/elements'
import { Refusal } from '../shared/refusals'
import { signIn, signOut } from './client'
import { sentence } from './words'

const TICKET = 'ticket'
/** Until when this browser is signed in: the cookie itself is out of a page's reach. */
const UNTIL = 'collab.admin.until'

const form = byId<HTMLFormElement>('sign-in-form')
const input = byId<HTMLInputElement>('token')
const button = byId<HTMLButtonElement>('sign-in-go')
let signedIn: () => void = () => {}

/** The ticket in the address, which is good once and so does not stay there. */
const takeTicket = (): string | null => {
  const ticket = new URLSearchParams(location.hash.slice(1)).get(TICKET)
  if (ticket !== null) history.replaceState(null, '', location.pathname)
  return ticket
}

/** Whether there is any use in asking the server without having signed in before. */
export const mayBeSignedIn = (): boolean => Date.parse(localStorage.getItem(UNTIL) ?? '') > Date.now()

const tell = (why: string): void => {
  const place = byId('sign-in-trouble')
  place.textContent = why && sentence(why)
  place.hidden = why === ''
}

const enter = async (shown: { token: string } | { ticket: string }): Promise<void> => {
  button.disabled = true
  try {
    localStorage.setItem(UNTIL, (await signIn(shown)).until)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    askToSignIn(error.message)
    return
  } finally {
    button.disabled = false
  }
  input.value = ''
  tell('')
  byId('sign-in').hidden = true
  byId('dashboard').hidden = false
  signedIn()
}

/** Show the form, and why it is there, if there is something to say. */
export const askToSignIn = (why = ''): void => {
  localStorage.removeItem(UNTIL)
  byId('dashboard').hidden = true
  byId('sign-in').hidden = false
  for (const dialog of document.querySelectorAll<HTMLDialogElement>('dialog[open]')) dialog.close()
  tell(why)
  input.focus()
}

/** Sign out, wherever it leads. */
export const leave = async (): Promise<void> => {
  try {
    await signOut()
    askToSignIn('You are signed out')
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    askToSignIn(`${error.message}: you may still be signed in.`)
  }
}

/** Sign in by the ticket in the address, if there is one; whether there was. */
export const useTicket = async (): Promise<boolean> => {
  const ticket = takeTicket()
  if (ticket === null) return false
  await enter({ ticket })
  return true
}

/** `onSignedIn` is called each time somebody has signed in. */
export const signing = (onSignedIn: () => void): void => {
  signedIn = onSignedIn
  form.addEventListener('submit', event => {
    event.preventDefault()
    void enter({ token: input.value.trim() })
  })
  byId<HTMLInputElement>('token-seen').addEventListener('change', ({ target }) => {
    input.type = (target as HTMLInputElement).checked ? 'text' : 'password'
  })
  addEventListener('hashchange', () => void useTicket())
}
