// The link to the document, and the documents that were opened on this device.

import { opens } from '../shared/dialogs'
import { byId, make } from '../shared/elements'
import { toast } from '../shared/toasts'
import { isDots, linkTo, pathOf } from './address'

const RECENT = 'collab.recent'
const MOST_RECENT = 8

/** Let the link be copied, or sent with what the device has for that. */
export const share = (id: string): void => {
  const link = byId<HTMLInputElement>('share-link')
  const send = byId('share-send')
  opens(byId<HTMLButtonElement>('open-share'), byId<HTMLDialogElement>('share'), () => { link.value = linkTo(id) })
  link.addEventListener('focus', () => link.select())
  byId('share-copy').addEventListener('click', () => { void copy(link) })
  byId('share-local').hidden = !/^(localhost|127\..*|\[::1\])$/.test(location.hostname)
  send.hidden = !('share' in navigator)
  send.addEventListener('click', () => {
    // It is refused when the user thinks better of it, which needs no words.
    navigator.share({ title: id, url: linkTo(id) }).catch(() => {})
  })
}

const copy = async (link: HTMLInputElement): Promise<void> => {
  try {
    await navigator.clipboard.writeText(link.value)
    byId<HTMLDialogElement>('share').close()
    toast('The link is copied.')
  } catch {
    // Pages that are not on https may not write to the clipboard.
    link.select()
    toast('This browser does not let the page copy: the link is selected, copy it yourself.')
  }
}

/** Show what this document is called, and let others be opened. */
export const documents = (id: string): void => {
  document.title = `${id} · collab`
  byId('document-name').textContent = byId('documents-this').textContent = id
  opens(byId<HTMLButtonElement>('open-documents'), byId<HTMLDialogElement>('documents'))
  byId('documents-form').addEventListener('submit', event => {
    event.preventDefault()
    const other = byId<HTMLInputElement>('documents-id').value.trim()
    if (isDots(other)) toast('A name of nothing but one or two dots cannot be opened here: choose another one.')
    else location.assign(pathOf(other))
  })
  const others = recent().filter(other => other !== id)
  byId('recent-title').hidden = others.length === 0
  byId('recent').replaceChildren(...others.map(other => {
    const link = make('a', '', other)
    link.href = pathOf(other)
    return make('li', '', link)
  }))
}

/** Keep in mind that a document was opened. */
export const keepRecent = (id: string): void =>
  localStorage.setItem(RECENT, JSON.stringify([id, ...recent().filter(other => other !== id)].slice(0, MOST_RECENT + 1)))

const recent = (): string[] => {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(RECENT) ?? '[]')
    return Array.isArray(kept) ? kept.map(String) : []
  } catch {
    return []
  }
}
