// What has happened that the user has to know or do something about, in words, with buttons for what can be done.

import { byId, make } from '../shared/elements'
import { announce } from './announcer'

export interface Notice {
  title: string
  text: string
  actions?: readonly (readonly [label: string, act: () => void])[]
}

/** Show one; it takes the place of another. */
export const showNotice = ({ title, text, actions = [] }: Notice): void => {
  byId('notice-title').textContent = title
  byId('notice-text').textContent = text
  byId('notice-actions').replaceChildren(...actions.map(([label, act], index) => {
    const button = make('button', index === 0 ? 'main' : '', label)
    button.type = 'button'
    button.addEventListener('click', act)
    return button
  }))
  byId('notice').hidden = false
  announce(`${title}: ${text}`)
}

export const hideNotice = (): void => {
  const notice = byId('notice')
  const focused = notice.contains(document.activeElement)
  notice.hidden = true
  if (focused) document.querySelector<HTMLElement>('.cm-content')?.focus()
}
