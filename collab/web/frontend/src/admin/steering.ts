// What can be done to the server, each after a question: say, kick, recheck, drain.

import { closable, show } from '../shared/dialogs'
import { byId } from '../shared/elements'
import { toast } from '../shared/toasts'
import { Refusal } from '../shared/refusals'
import { drain, kick, recheck, say, type User } from './client'
import { counted, sentence } from './words'

/** The word that somebody has to write before the server is drained. */
const SURE = 'drain'

/** A dialog with a form, which stays open until what it asks for is done. */
const form = (name: string): { ask: (act: () => Promise<string>, done: () => void) => void } => {
  const dialog = byId<HTMLDialogElement>(name)
  const button = dialog.querySelector<HTMLButtonElement>('button[type=submit]')!
  const trouble = dialog.querySelector<HTMLElement>('.trouble')!
  let doIt: () => Promise<void> = async () => {}
  closable(dialog)
  dialog.querySelector('form')!.addEventListener('submit', event => {
    event.preventDefault()
    button.disabled = true
    trouble.hidden = true
    void doIt().catch(error => {
      if (!(error instanceof Refusal)) throw error
      trouble.textContent = sentence(error.message)
      trouble.hidden = false
    }).finally(() => { button.disabled = false })
  })
  return {
    ask: (act, done) => {
      doIt = async () => {
        const said = await act()
        dialog.close()
        toast(said)
        done()
      }
      trouble.hidden = true
      show(dialog)
    }
  }
}

const saying = form('say')
const kicking = form('kick')
const draining = form('drain')

export const askSay = (room: string, done: () => void): void => {
  const text = byId<HTMLTextAreaElement>('say-text')
  byId('say-room').textContent = room
  text.value = ''
  saying.ask(async () => {
    const { told, untold } = await say(room, text.value.trim())
    return untold ? `Told ${counted(told, 'session')}; ${counted(untold, 'client')} cannot be told.` : `Told ${counted(told, 'session')}.`
  }, done)
}

/** `user` null: everybody. */
export const askKick = (room: string, user: User | null, done: () => void): void => {
  const seconds = byId<HTMLSelectElement>('kick-seconds')
  const reason = byId<HTMLInputElement>('kick-reason')
  const who = user === null ? 'everybody' : user.name
  byId('kick-title').textContent = `Kick ${who}`
  byId('kick-who').textContent = who
  byId('kick-room').textContent = room
  byId('kick-go').textContent = user === null ? 'Kick everybody' : `Kick ${user.name}`
  seconds.value = '0'
  reason.value = ''
  kicking.ask(async () => {
    const { sessions } = await kick(room, user?.id ?? null, Number(seconds.value), reason.value.trim())
    return `${counted(sessions, 'session')} ended.`
  }, done)
}

export const askRecheck = async (room: string, user: User | null, done: () => void): Promise<void> => {
  try {
    const { sessions } = await recheck(room, user?.id ?? null)
    toast(`What ${counted(sessions, 'session')} may do is decided once more.`)
    done()
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    toast(sentence(error.message), 'That was not done')
  }
}

/** Let the button ask whether to drain the server. */
export const offerDrain = (done: () => void): void => {
  const input = byId<HTMLInputElement>('drain-sure')
  const go = byId<HTMLButtonElement>('drain-go')
  input.addEventListener('input', () => { go.disabled = input.value.trim().toLowerCase() !== SURE })
  byId('open-drain').addEventListener('click', () => {
    input.value = ''
    go.disabled = true
    draining.ask(async () => {
      const { connections } = await drain()
      return `The server takes nobody in any more; ${counted(connections, 'connection')} are being sent away.`
    }, done)
  })
}
