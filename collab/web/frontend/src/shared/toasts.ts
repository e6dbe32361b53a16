// Short messages over the page. One that somebody has to have seen stays until it is closed.

import { bringUp } from './above'
import { byId, make } from './elements'

const LASTS = 4000

/** Show a message; with a title it stays until it is closed. */
export const toast = (text: string, title?: string): void => {
  const card = make('div', 'toast')
  if (title !== undefined) card.append(make('strong', '', title))
  card.append(make('p', '', text))
  if (title === undefined) {
    setTimeout(() => card.remove(), LASTS)
  } else {
    const close = make('button', 'close', '×')
    close.type = 'button'
    close.setAttribute('aria-label', `Close: ${title}`)
    close.addEventListener('click', () => card.remove())
    card.append(close)
  }
  bringUp(byId('toasts')).append(card)
}
