/* Charts: uPlot draws what the server measured; where it cannot, the server's drawing stays. A minute's point comes with the stream. */
'use strict'
{
  const ink = (name, tone = '') => { const probe = document.createElement('i'); probe.className = tone; probe.style.color = `var(${name})`; document.body.append(probe); const { color } = getComputedStyle(probe); probe.remove(); return color }
  const tone = name => ink('--tone-fill', name)
  const faded = color => `color-mix(in srgb, ${color} 13%, transparent)`
  const bytes = (value, digits) => {
    let at = 0
    for (; value >= 1000 && at < 5; at++) value /= 1000
    return `${digits ? value.toFixed(digits) : +value.toFixed(at ? 1 : 0)}\u00a0${['', 'k', 'M', 'G', 'T', 'P'][at]}B`
  }
  const amount = { '%': (v, d) => `${v.toFixed(d ?? 0)}\u00a0%`, bytes, 'bytes/s': (v, d) => `${bytes(v, d)}/s` }
  const said = (at, form) => new Date(at * 1000).toLocaleString('en-GB', form)
  const day = at => said(at, { day: 'numeric', month: 'short' })
  const clock = at => said(at, { hour: '2-digit', minute: '2-digit' })
  const FONT = 'px Inter, sans-serif'
  const top = values => Math.max(1, ...values.flat()) * 1.12 /* null counts as 0 */
  const charts = new Map()

  function draw (box, plot) {
    const times = plot.series[0].values.map((_, at) => plot.start + at * plot.step)
    const wide = times.length * plot.step > 3 * 86400
    const show = amount[plot.unit]
    const tip = document.createElement('div')
    tip.className = 'tip'
    tip.hidden = true
    const axis = { stroke: ink('--ink-3'), font: 11.5 + FONT, grid: { stroke: ink('--line'), width: 1 }, ticks: { show: false } }
    const most = plot.top || top(plot.series.map(one => one.values))
    charts.get(box)?.drawn?.destroy()
    box.textContent = ''
    const drawn = new uPlot({
      width: box.clientWidth - 16,
      height: box.classList.contains('short') ? 140 : Math.max(200, box.clientHeight - 8),
      padding: [10, 6, 0, 0],
      legend: { show: false },
      cursor: { points: { size: 7 }, drag: { x: false, y: false } },
      scales: { y: { range: [0, most] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 70, values: (_, at) => at.map(wide ? day : clock) },
        { ...axis, size: 66, space: 36, splits: plot.unit === '%' ? () => [0, 50, 100] : undefined, values: (_, at) => at.map(v => show(v)) }
      ],
      series: [{}, ...plot.series.map((one, at) => ({ label: one.word, stroke: tone(one.tone), width: 1.75, dash: one.dashed ? [5, 3] : undefined, fill: at ? undefined : faded(tone(one.tone)), points: { show: false }, spanGaps: false }))],
      hooks: { draw: [u => marks(u, plot)], setCursor: [u => hover(u, plot, tip, box, wide, show)] }
    }, [times, ...plot.series.map(one => one.values)], box)
    drawn.root.append(tip)
    drawn.root.style.position = 'relative'
    drawn.root.setAttribute('aria-hidden', 'true')
    box.setAttribute('role', 'img')
    box.setAttribute('aria-label', plot.sentence)
    charts.set(box, { plot, drawn })
  }
  function marks (u, plot) {
    const c = u.ctx
    const px = devicePixelRatio
    const { left, top, width, height } = u.bbox
    c.save()
    Object.assign(c, { font: 11.5 * px + FONT, fillStyle: ink('--ink-3'), textAlign: 'left', textBaseline: 'alphabetic', lineWidth: px })
    c.setLineDash([3 * px, 3 * px])
    const rule = (color, x, y, wide, high, word, below) => {
      c.strokeStyle = color
      c.beginPath()
      c.moveTo(x, y)
      c.lineTo(x + wide, y + high)
      c.stroke()
      c.fillText(word, x + 6 * px, y + high + below * px)
    }
    if (plot.line) rule(tone('is-risk'), left, u.valToPos(plot.line, 'y', true), width, 0, plot.line_word, 14)
    if (plot.now && plot.series.length > 1) rule(ink('--ink-3'), u.valToPos(plot.now, 'x', true), top, 0, height, 'today', -8)
    c.restore()
  }
  function hover (u, plot, tip, box, wide, show) {
    const at = u.cursor.idx
    tip.hidden = at == null || u.cursor.left < 0
    if (tip.hidden) return
    const [time, ...values] = u.data.map(one => one[at])
    const shown = values.map((value, n) => value == null ? '' : `${plot.series[n].word} ${show(value, 1)}`)
    const when = [wide && day(time), plot.step < 86400 && clock(time)].filter(Boolean).join(', ')
    tip.textContent = [when, ...shown].filter(Boolean).join('  ·  ')
    tip.style.left = `${Math.max(0, Math.min(u.cursor.left + 70, box.clientWidth - tip.offsetWidth - 24))}px`
    tip.style.top = '4px'
  }

  async function load (group) {
    const bar = $(`[data-ranges="${group}"]`)
    const chosen = () => $('[aria-current]', bar).dataset.range
    const range = chosen()
    let plots
    try {
      const answer = await fetch(`${bar.dataset.href}?${group}=${range}`, { headers: { Accept: 'application/json' } })
      if (!answer.ok || answer.redirected) return
      plots = await answer.json()
    } catch { return /* the server's drawing stays */ }
    if (chosen() !== range) return
    for (const box of $$(`[data-chart][data-group="${group}"]`)) {
      const plot = plots[box.dataset.chart]
      if (plot) { draw(box, plot); continue }
      charts.get(box)?.drawn.destroy()
      charts.delete(box)
      for (const name of ['role', 'aria-label']) box.removeAttribute(name)
      box.innerHTML = '<p class="muted">Nothing was measured in this time.</p>'
    }
  }
  document.addEventListener('click', event => {
    const link = event.target.closest('[data-range]')
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    const bar = link.closest('[data-ranges]')
    for (const one of bar.children) one.ariaCurrent = one === link ? 'true' : null
    const address = new URL(location.href)
    address.searchParams.set(bar.dataset.ranges, link.dataset.range)
    history.replaceState(null, '', address)
    load(bar.dataset.ranges)
  })

  /* One minute more: the chart of an hour moves on; a longer one is asked for again when its next point is whole. */
  document.addEventListener('swapped', event => {
    const minute = $('[data-minute]', event.target)
    if (!minute) return
    const at = Number(minute.dataset.minute)
    const late = new Set()
    for (const [box, { plot, drawn }] of charts) {
      if (box.dataset.feed !== event.target.dataset.topic) continue
      const times = drawn.data[0]
      const last = times[times.length - 1]
      if (at <= last) continue
      if (plot.step > 60 || at > last + 60) { if (at >= last + 2 * plot.step) late.add(box.dataset.group); continue }
      const values = minute.dataset[box.dataset.chart].split(' ').map(text => text === '' ? null : Number(text))
      const data = [[...times.slice(1), at], ...plot.series.map((_, n) => [...drawn.data[n + 1].slice(1), values[n] ?? null])]
      if (!plot.top) drawn.scales.y.range = () => [0, top(data.slice(1))]
      drawn.setData(data)
      plot.series.forEach((one, n) => { one.values = data[n + 1] })
      plot.start += 60
    }
    late.forEach(load)
  })

  let width = innerWidth
  const again = () => { for (const [box, { plot }] of charts) draw(box, plot) }
  new ResizeObserver(() => { if (innerWidth !== width) { width = innerWidth; again() } }).observe(document.documentElement)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again)
  if (window.uPlot) document.fonts.ready.then(() => $$('[data-ranges]').forEach(bar => load(bar.dataset.ranges)))
}
