// Asks again and again, as long as somebody looks: one thing after the other, never two at once.

/** Milliseconds between two rounds. */
const PAUSE = 2000
/** While the server does not answer, at most. */
const LONGEST = 15_000

export class Poll {
  private timer: ReturnType<typeof setTimeout> | undefined
  private running = false
  private wanted = false
  private failures = 0

  /** `round` tells whether the server has answered. */
  constructor (private readonly round: () => Promise<boolean>) {
    document.addEventListener('visibilitychange', () => this.see())
  }

  start (): void {
    this.wanted = true
    this.failures = 0
    this.see()
  }

  stop (): void {
    this.wanted = false
    clearTimeout(this.timer)
  }

  /** Ask at once: something was done whose effect people want to see. */
  hurry (): void {
    clearTimeout(this.timer)
    void this.run()
  }

  private see (): void {
    clearTimeout(this.timer)
    if (!document.hidden) void this.run()
  }

  private async run (): Promise<void> {
    if (!this.wanted || this.running || document.hidden) return
    this.running = true
    let answered = false
    try {
      answered = await this.round()
    } finally {
      this.running = false
    }
    this.failures = answered ? 0 : this.failures + 1
    if (this.wanted && !document.hidden) this.timer = setTimeout(() => void this.run(), Math.min(LONGEST, PAUSE * 2 ** Math.min(this.failures, 4)))
  }
}
