// The charts: lines over the last minutes, and the same in words and as a table for who does not see them.

import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { closable, show } from '../shared/dialogs'
import { byId, make } from '../shared/elements'
import type { Sample } from './samples'
import { bytes, bytesRate, clock, count, NONE, percent, rate, took } from './words'

type Key = Exclude<keyof Sample, 'at'>

interface Line {
  key: Key
  label: string
  /** One of the colours --chart-1 to --chart-3. */
  color: 1 | 2 | 3
}

interface Plan {
  title: string
  say: (value: number | null) => string
  lines: Line[]
  /** The least that the scale reaches up to. */
  least: number
}

const PLANS: Plan[] = [
  {
    title: 'Sessions', say: count, least: 4, lines: [
      { key: 'yjs', label: 'y-websocket', color: 1 }, { key: 'hocuspocus', label: 'Hocuspocus', color: 2 }, { key: 'native', label: 'native', color: 3 }
    ]
  },
  {
    title: 'Messages a second', say: rate, least: 4, lines: [
      { key: 'messages', label: 'received', color: 1 }, { key: 'updates', label: 'updates of them', color: 2 }
    ]
  },
  {
    title: 'Latency from socket to sockets', say: took, least: 1, lines: [
      { key: 'queuedHalf', label: 'half', color: 2 }, { key: 'queuedMost', label: '99 % queued', color: 1 }, { key: 'writtenMost', label: '99 % written', color: 3 }
    ]
  },
  {
    title: 'Bytes a second', say: bytesRate, least: 1000, lines: [
      { key: 'bytesOut', label: 'sent', color: 1 }, { key: 'bytesIn', label: 'received', color: 2 }
    ]
  },
  {
    title: 'Writes to the store take', say: took, least: 1, lines: [
      { key: 'storedHalf', label: 'half', color: 2 }, { key: 'storedMost', label: '99 %', color: 1 }
    ]
  },
  { title: 'Not stored yet', say: bytes, least: 1000, lines: [{ key: 'unstored', label: 'waiting', color: 3 }] },
  { title: 'Lag of the event loop', say: took, least: 1, lines: [{ key: 'lag', label: 'lag', color: 1 }] },
  { title: 'Processor', say: percent, least: 10, lines: [{ key: 'cpu', label: 'of one core', color: 2 }] }
]

/** Seconds that a chart shows; fewer in the beginning, so that there is something to see. */
export const SHOWN = 600
const LEAST_SHOWN = 60
const HEIGHT = 150
/** Rows of a chart's table: a minute. */
const ROWS = 30

class Chart {
  private readonly figure = make('figure', 'card chart')
  private readonly plot: uPlot
  private readonly values: HTMLElement[] = []
  private readonly frame = make('div', 'plot')
  private samples: readonly Sample[] = []

  constructor (private readonly plan: Plan, place: HTMLElement) {
    const legend = make('ul', 'legend')
    for (const { label, color } of plan.lines) {
      const value = make('strong', 'number', NONE)
      this.values.push(value)
      legend.append(make('li', '', make('span', `swatch color-${color}`), `${label} `, value))
    }
    this.figure.append(make('figcaption', '', make('h3', '', plan.title), legend), this.frame, this.button())
    place.append(this.figure)
    this.frame.setAttribute('role', 'img')
    this.plot = new uPlot(this.options(), [[], ...plan.lines.map(() => [])], this.frame)
    new ResizeObserver(() => this.fit()).observe(this.frame)
  }

  /** Show these. */
  draw (samples: readonly Sample[]): void {
    this.samples = samples
    const at = samples.map(sample => sample.at)
    this.plot.setData([at, ...this.plan.lines.map(({ key }) => samples.map(sample => sample[key]))] as uPlot.AlignedData)
    this.tell(this.plot.cursor.idx ?? null)
    this.frame.setAttribute('aria-label', this.words())
    if (tabled === this) this.fill()
  }

  /** Colours have changed. */
  recolor (): void {
    this.plot.redraw(false, true)
  }

  private options (): uPlot.Options {
    const { plan } = this
    const font = '11px system-ui, sans-serif'
    const axis = { stroke: () => color('--soft'), font, ticks: { show: false }, grid: { stroke: () => color('--grid'), width: 1 } }
    return {
      width: 300,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 22, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, sync: { key: 'collab' }, points: { size: 6 } },
      scales: {
        x: { time: true, range: () => this.span() },
        y: { range: (_, __, most) => [0, Math.max(plan.least, most * 1.1)] }
      },
      axes: [
        { ...axis, size: 24, space: 90, grid: { show: false }, values: (_, ticks) => ticks.map(clock) },
        { ...axis, size: 58, space: 36, values: (_, ticks) => ticks.map(tick => plan.say(tick)) }
      ],
      series: [{}, ...plan.lines.map(({ label, color: number }, index) => ({
        label,
        stroke: () => color(`--chart-${number}`),
        width: 1.75,
        points: { show: false },
        ...(index === 0 && { fill: () => color(`--chart-${number}-fill`) })
      }))],
      hooks: { setCursor: [plot => this.tell(plot.cursor.idx ?? null)] }
    }
  }

  private span (): [number, number] {
    const now = Date.now() / 1000
    const first = this.samples[0]?.at ?? now
    return [Math.max(now - SHOWN, Math.min(first, now - LEAST_SHOWN)), now]
  }

  private fit (): void {
    const width = Math.floor(this.frame.clientWidth)
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT })
  }

  /** The values in the legend: where the pointer is, else the latest. */
  private tell (index: number | null): void {
    const shown = this.samples[index ?? this.samples.length - 1]
    for (const [place, { key }] of this.plan.lines.entries()) {
      this.values[place]!.textContent = shown ? this.plan.say(shown[key]) : NONE
    }
  }

  private words (): string {
    const said = this.plan.lines.map(({ key, label }) => {
      const values = this.samples.map(sample => sample[key]).filter(value => value !== null)
      if (values.length === 0) return `${label}: nothing yet`
      const last = this.samples.at(-1)![key]
      return `${label}: now ${this.plan.say(last)}, from ${this.plan.say(Math.min(...values))} to ${this.plan.say(Math.max(...values))}`
    })
    return `${this.plan.title} in the last ten minutes. ${said.join('; ')}.`
  }

  private button (): HTMLElement {
    const button = make('button', 'plain-button', 'As a table')
    button.type = 'button'
    button.setAttribute('aria-haspopup', 'dialog')
    button.setAttribute('aria-label', `${this.plan.title} as a table`)
    button.addEventListener('click', () => {
      tabled = this
      this.fill()
      show(table)
    })
    return button
  }

  private fill (): void {
    const cells = (tag: 'th' | 'td', texts: string[]): HTMLElement =>
      make('tr', '', ...texts.map((text, index) => make(tag, index ? 'number' : '', text)))
    byId('table-title').textContent = this.plan.title
    byId('table-head').replaceChildren(cells('th', ['Time', ...this.plan.lines.map(({ label }) => label)]))
    byId('table-rows').replaceChildren(...this.samples.slice(-ROWS).reverse().map(sample =>
      cells('td', [clock(sample.at), ...this.plan.lines.map(({ key }) => this.plan.say(sample[key]))])))
  }
}

const table = byId<HTMLDialogElement>('table')
/** The chart whose table is shown. */
let tabled: Chart | null = null
closable(table)
table.addEventListener('close', () => { tabled = null })

const probe = make('span', 'hidden')

/** A colour of the stylesheet as a canvas takes it: light or dark, as the page is now. */
const color = (name: string): string => {
  probe.style.color = `var(${name})`
  return getComputedStyle(probe).color
}

/** Put the charts on the page; what shows samples in all of them. */
export const makeCharts = (): (samples: readonly Sample[]) => void => {
  document.body.append(probe)
  const charts = PLANS.map(plan => new Chart(plan, byId('charts')))
  const recolor = (): void => charts.forEach(chart => chart.recolor())
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolor)
  new MutationObserver(recolor).observe(document.documentElement, { attributeFilter: ['data-theme'] })
  return samples => charts.forEach(chart => chart.draw(samples))
}
