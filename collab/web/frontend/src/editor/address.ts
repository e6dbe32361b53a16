// The page's address: which document it is, and the token that a link may bring along.

import { randomName } from './words'

const PATH = '/d/'
const TOKEN = 'collab.token'

/** The address of a document's page. */
export const pathOf = (id: string): string => {
  const parts = id.split('/')
  // Browsers walk up and down by these, however they are written, unless there is more between two slashes.
  return PATH + (parts.some(isDots) ? encodeURIComponent(id) : parts.map(encodeURIComponent).join('/'))
}

/** Whether a text is what addresses have no way to say. */
export const isDots = (text: string): boolean => text === '.' || text === '..'

/** The whole link to a document. */
export const linkTo = (id: string): string => location.origin + pathOf(id)

/** The document that this page is for; a new one gets a name, and the address that goes with it. */
export const documentHere = (): string => {
  const { pathname } = location
  if (pathname.startsWith(PATH) && pathname.length > PATH.length) {
    try {
      return decodeURIComponent(pathname.slice(PATH.length))
    } catch {
      // An address that is not UTF-8 is no document's; the server says what an id is.
      return pathname.slice(PATH.length)
    }
  }
  const id = randomName()
  history.replaceState(null, '', pathOf(id) + location.hash)
  return id
}

/** Take the token out of the address, if a link has brought one. */
export const takeToken = (): void => {
  const token = new URLSearchParams(location.hash.slice(1)).get('token')
  if (token === null) return
  history.replaceState(null, '', location.pathname + location.search)
  keepToken(token)
}

/** The token of this tab, if there is one. */
export const tokenHere = (): string | null => sessionStorage.getItem(TOKEN)

/** Keep a token until this tab is closed. */
export const keepToken = (token: string): void => sessionStorage.setItem(TOKEN, token.trim())

export const dropToken = (): void => sessionStorage.removeItem(TOKEN)
