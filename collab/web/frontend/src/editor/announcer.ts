// What a screen reader is told: what has changed, put together, after a moment, so that it does not chatter.

import { bringUp } from '../shared/above'
import { byId } from '../shared/elements'

const PAUSE = 800

let waiting: string[] = []
let timer: ReturnType<typeof setTimeout> | undefined

/** Have something read out. */
export const announce = (text: string): void => {
  waiting = [...waiting.filter(other => other !== text), text]
  clearTimeout(timer)
  timer = setTimeout(() => {
    bringUp(byId('live')).textContent = `${waiting.join('. ')}.`
    waiting = []
  }, PAUSE)
}
