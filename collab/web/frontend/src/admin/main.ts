// The dashboard at /admin/: what the server does, live, and how to steer it.

import './style.css'
import { byId } from '../shared/elements'
import { themeChoice } from '../shared/themes'
import { Refusal } from '../shared/refusals'
import { showSilence, showTroubles } from './alerts'
import { makeCharts, SHOWN } from './charts'
import { type Stats, stats as askStats } from './client'
import { showOverview } from './overview'
import { Poll } from './poll'
import { RoomView } from './room'
import { Rooms } from './rooms'
import { follows, gap, type Sample, sample } from './samples'
import { askToSignIn, leave, mayBeSignedIn, signing, useTicket } from './signing'
import { offerDrain } from './steering'

let latest: Stats | null = null
let first: Stats | null = null
let answeredAt = Date.now()
let samples: Sample[] = []

const draw = makeCharts()
const poll = new Poll(() => round())
const hurry = (): void => poll.hurry()
const rooms = new Rooms(id => room.open(id), hurry)
const room = new RoomView(rooms.walk, hurry)

const note = (point: Sample): void => {
  samples = [...samples.filter(({ at }) => at > point.at - SHOWN), point]
  draw(samples)
}

const take = (stats: Stats): void => {
  const at = Date.now() / 1000
  if (latest !== null && !follows(latest, stats)) note(gap(at - 0.001))
  const point = sample(at, latest, stats)
  latest = stats
  first ??= stats
  answeredAt = Date.now()
  note(point)
  showOverview(stats, point, first)
  showTroubles(stats)
  showState(stats.draining ? 'late' : 'live', stats.draining ? 'Draining' : 'Live')
}

const showState = (state: string, text: string): void => {
  byId('status').dataset.state = state
  if (byId('status-text').textContent !== text) byId('status-text').textContent = text
}

/** Ask for everything once; whether the server has answered. */
const round = async (): Promise<boolean> => {
  try {
    take(await askStats())
    show()
    await rooms.walk.step()
    rooms.draw()
    await room.step()
    return true
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    if (error.status === 401 || error.status === 403) {
      poll.stop()
      // Who has not signed in yet needs no explanation.
      askToSignIn(latest === null ? '' : error.message)
      return true
    }
    show()
    note(gap(Date.now() / 1000))
    showSilence(error, answeredAt)
    showState('stopped', 'No answer')
    return false
  }
}

/** Show the dashboard, not the sign-in. */
const show = (): void => {
  byId('sign-in').hidden = true
  byId('dashboard').hidden = false
}

const start = async (): Promise<void> => {
  themeChoice(document.querySelectorAll<HTMLInputElement>('input[name=theme]'))
  signing(() => poll.start())
  offerDrain(hurry)
  byId('sign-out').addEventListener('click', () => {
    poll.stop()
    void leave()
  })
  if (await useTicket()) return
  if (mayBeSignedIn()) poll.start()
  else askToSignIn()
}

void start()
