/* Charts: uPlot draws what the server measured; where it cannot, the server's drawing stays. A minute's point comes with the stream. */
'use strict'
{
  const tone = name => { const probe = document.createElement('i'); probe.className = name; document.body.append(probe); const style = getComputedStyle(probe); const found = style.getPropertyValue('--tone-fill') || style.color; probe.style.color = found; const color = getComputedStyle(probe).color; probe.remove(); return color }
  const ink = name => { const probe = document.createElement('i'); probe.style.color = `var(${name})`; document.body.append(probe); const color = getComputedStyle(probe).color; probe.remove(); return color }
  const faded = color => `color-mix(in srgb, ${color} 13%, transparent)`
  const NAMES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']
  const bytes = (value, digits) => {
    const at = Math.min(NAMES.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)))
    return `${(value / 1000 ** at).toFixed(digits ?? (at ? 1 : 0)).replace(/\.0$/, digits === undefined ? '' : '.0')}\u00a0${NAMES[at]}`
  }
  const amount = { '%': (v, d) => `${v.toFixed(d ?? 0)}\u00a0%`, bytes, 'bytes/s': (v, d) => `${bytes(v, d)}/s` }
  const day = at => new Date(at * 1000).toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })
  const clock = at => new Date(at * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  const charts = new Map()

  function draw (box, plot) {
    const times = plot.series[0].values.map((_, at) => plot.start + at * plot.step)
    const wide = times.length * plot.step > 3 * 86400
    const show = amount[plot.unit]
    const tip = document.createElement('div')
    tip.className = 'tip'
    tip.hidden = true
    const axis = { stroke: ink('--ink-3'), font: '11.5px Inter, sans-serif', grid: { stroke: ink('--line'), width: 1 }, ticks: { show: false } }
    const most = plot.top || Math.max(1, ...plot.series.flatMap(one => one.values).filter(v => v !== null)) * 1.12
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
    c.save()
    Object.assign(c, { font: `${11.5 * devicePixelRatio}px Inter, sans-serif`, fillStyle: ink('--ink-3'), textAlign: 'left', textBaseline: 'alphabetic', lineWidth: devicePixelRatio })
    c.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio])
    const stroke = (color, ...at) => { c.strokeStyle = color; c.beginPath(); c.moveTo(at[0], at[1]); c.lineTo(at[2], at[3]); c.stroke() }
    if (plot.line) {
      const y = u.valToPos(plot.line, 'y', true)
      stroke(tone('is-risk'), u.bbox.left, y, u.bbox.left + u.bbox.width, y)
      c.fillText(plot.line_word, u.bbox.left + 6 * devicePixelRatio, y + 14 * devicePixelRatio)
    }
    if (plot.now && plot.series.length > 1) {
      const x = u.valToPos(plot.now, 'x', true)
      stroke(ink('--ink-3'), x, u.bbox.top, x, u.bbox.top + u.bbox.height)
      c.fillText('today', x + 6 * devicePixelRatio, u.bbox.top + u.bbox.height - 8 * devicePixelRatio)
    }
    c.restore()
  }
  function hover (u, plot, tip, box, wide, show) {
    const at = u.cursor.idx
    tip.hidden = at == null || u.cursor.left < 0
    if (tip.hidden) return
    const time = u.data[0][at]
    const values = plot.series.map((one, n) => u.data[n + 1][at] == null ? '' : `${one.word} ${show(u.data[n + 1][at], 1)}`)
    tip.textContent = [wide && plot.step < 86400 ? `${day(time)}, ${clock(time)}` : wide ? day(time) : clock(time), ...values].filter(Boolean).join('  ·  ')
    tip.style.left = `${Math.max(0, Math.min(u.cursor.left + 70, box.clientWidth - tip.offsetWidth - 24))}px`
    tip.style.top = '4px'
  }

  const boxes = group => [...document.querySelectorAll(`[data-chart][data-group="${group}"]`)]
  const ranges = group => document.querySelector(`[data-ranges="${group}"]`)
  async function load (group) {
    const bar = ranges(group)
    const range = bar.querySelector('[aria-current]').dataset.range
    let plots
    try {
      const answer = await fetch(`${bar.dataset.href}?${group}=${range}`, { headers: { Accept: 'application/json' } })
      if (!answer.ok || answer.redirected) return
      plots = await answer.json()
    } catch { return /* the server's drawing stays */ }
    if (bar.querySelector('[aria-current]').dataset.range !== range) return
    for (const box of boxes(group)) {
      const plot = plots[box.dataset.chart]
      if (plot) { draw(box, plot); continue }
      charts.get(box)?.drawn.destroy()
      charts.delete(box)
      box.removeAttribute('role')
      box.removeAttribute('aria-label')
      box.innerHTML = '<p class="muted">Nothing was measured in this time.</p>'
    }
  }
  document.addEventListener('click', event => {
    const link = event.target.closest('[data-range]')
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    const bar = link.closest('[data-ranges]')
    for (const one of bar.children) one === link ? one.setAttribute('aria-current', 'true') : one.removeAttribute('aria-current')
    const address = new URL(location.href)
    address.searchParams.set(bar.dataset.ranges, link.dataset.range)
    history.replaceState(null, '', address)
    load(bar.dataset.ranges)
  })

  /* One minute more: the chart of an hour moves on; a longer one is asked for again when its next point is whole. */
  document.addEventListener('swapped', event => {
    const minute = event.target.querySelector('[data-minute]')
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
      if (!plot.top) drawn.scales.y.range = () => [0, Math.max(1, ...data.slice(1).flat().filter(v => v !== null)) * 1.12]
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
  if (window.uPlot) document.fonts.ready.then(() => document.querySelectorAll('[data-ranges]').forEach(bar => load(bar.dataset.ranges)))
}
