/* What a page has besides HTML: live fragments, copying keys, / for the search. Every page works without it. */
'use strict'
const $ = (s, el = document) => el.querySelector(s)
const $$ = (s, el = document) => [...el.querySelectorAll(s)]
const announce = text => { const el = $('#said'); if (el) el.textContent = text }

document.addEventListener('click', async event => {
  const el = event.target.closest('[data-copy], [data-toggle]')
  if (!el) return
  if ('copy' in el.dataset) {
    try { await navigator.clipboard.writeText(el.dataset.copy) } catch { return /* no permission: the text can be selected */ }
    const use = $('use', el)
    const was = use && use.getAttribute('href')
    announce('Copied')
    if (use) { use.setAttribute('href', was.replace(/#.*/, '#i-check')); setTimeout(() => use.setAttribute('href', was), 1200) }
  }
  if ('toggle' in el.dataset) {
    const input = document.getElementById(el.dataset.toggle)
    input.type = input.type === 'password' ? 'text' : 'password'
    el.textContent = input.type === 'password' ? 'Show' : 'Hide'
  }
})
document.addEventListener('keydown', event => {
  if (event.key === '/' && !event.target.closest('input, textarea, select')) {
    const field = $('[data-slash-first]') || $('[data-slash]')
    if (field) { event.preventDefault(); field.focus() }
  }
})
$$('[data-toggle]').forEach(el => { el.hidden = false })

/* Parts that take a moment, such as the files of a drive: asked for once they are on the page, and again, every
   15 s at most, when a live fragment is of something newer. */
const AGAIN = 15_000
const loads = new WeakMap()
function load (el) {
  const now = Date.now()
  const before = loads.get(el)
  if (before > now) return
  const at = before === undefined ? now : Math.max(now, before + AGAIN)
  loads.set(el, at)
  setTimeout(async () => {
    try {
      const answer = await fetch(el.dataset.load, { headers: { Accept: 'text/html' } })
      if (!answer.headers.get('X-Fragment') || inUse(el)) return
      el.innerHTML = await answer.text()
      $$('[data-load]', el).forEach(load)
      if ($('[data-topic]', el) && live.source) open()
    } catch { /* the link beside it works, or says why not */ }
  }, at - now)
}

/* Live fragments: one stream of events a page; after three failures the page is asked for every 15 s instead. */
const SILENT = 45_000
const HIDDEN = 60_000
const POLL = 15_000
const live = { source: null, heard: Date.now(), failures: 0, poll: 0, away: 0 }

function show () {
  const off = Date.now() - live.heard > SILENT
  $$('.live').forEach(el => {
    el.hidden = false
    el.classList.toggle('off', off)
    const text = off ? `Not updated since ${new Date(live.heard).toLocaleTimeString()}` : 'Live'
    if (el.firstElementChild.textContent !== text) el.firstElementChild.textContent = text
  })
}
function swap (topic, html) {
  live.heard = Date.now()
  for (const el of $$('[data-topic]')) {
    /* what has the focus, or is being selected, stays under the hand */
    if (el.dataset.topic !== topic || inUse(el)) continue
    const mark = markOf(el)
    /* a selection, and what was loaded, stay in their places */
    const kept = $$('[data-keep]', el).map(one => [one, one.scrollTop])
    el.innerHTML = html
    for (const [one, top] of kept.reverse()) {
      const { keep } = one.dataset
      const slot = $(`[data-slot="${keep}"], [data-keep="${keep}"]`, el)
      if (slot) slot.replaceWith(one)
      else if (!keep) el.prepend(one)
      else if (keep === 'last') el.append(one)
      one.scrollTop = top
      if (!slot || slot.dataset.of === one.dataset.of) continue
      one.dataset.of = slot.dataset.of
      load(one)
    }
    for (const one of $$('[data-load]', el)) if (!loads.has(one)) load(one)
    el.dispatchEvent(new CustomEvent('swapped', { bubbles: true }))
    if (markOf(el) !== mark) { reload.changed = true; refresh() }
  }
  show()
}
const inUse = el => el.contains(document.activeElement) || el.contains(getSelection().anchorNode) && !getSelection().isCollapsed
const markOf = el => $('[data-mark]', el)?.dataset.mark
async function fetched () {
  const answer = await fetch(location.href, { headers: { Accept: 'text/html' } })
  return answer.ok && !answer.redirected ? new DOMParser().parseFromString(await answer.text(), 'text/html') : null
}

/* A part that depends on rights, or has forms, comes with the page: after a change, and each minute: it shows ages. */
const PAUSE = 5_000
const AGED = 60_000
const reload = { changed: false, at: Date.now(), busy: false }
async function refresh () {
  const el = $('[data-reload]')
  if (!el || reload.busy || document.hidden) return
  const held = () => inUse(el) || $('details[open]', el)
  if (held()) { $('[data-stale]').hidden = !reload.changed; return }
  if (Date.now() - reload.at < (reload.changed ? PAUSE : AGED)) return
  const told = reload.changed
  Object.assign(reload, { busy: true, changed: false, at: Date.now() })
  try {
    const page = await fetched()
    const found = page && $('[data-reload]', page)
    if (!found || held()) reload.changed ||= told
    else {
      el.innerHTML = found.innerHTML
      $('[data-stale]').hidden = true
      if (told) announce('The alerts have changed')
    }
  } catch { reload.changed ||= told /* the next one may work */ } finally { reload.busy = false }
}
async function poll () {
  try {
    const page = await fetched()
    if (!page) return
    for (const topic of topics()) {
      const found = $$('[data-topic]', page).find(el => el.dataset.topic === topic)
      if (found) swap(topic, found.innerHTML)
    }
    if (live.source.readyState === EventSource.CLOSED) open() /* the server is back */
  } catch { /* the next one may work */ }
  show()
}
const topics = () => [...new Set($$('[data-topic]').map(el => el.dataset.topic))]
function open () {
  clearInterval(live.poll)
  live.poll = 0
  live.source?.close()
  live.source = new EventSource(`${document.body.dataset.live}?topics=${topics().join(',')}`)
  live.source.onopen = () => { live.failures = 0; live.heard = Date.now(); show() }
  live.source.addEventListener('beat', () => { live.heard = Date.now(); show() })
  for (const topic of topics()) live.source.addEventListener(topic, event => swap(topic, event.data))
  live.source.onerror = () => {
    live.failures += 1
    if (live.failures >= 3 || live.source.readyState === EventSource.CLOSED) {
      live.source.close()
      if (!live.poll) live.poll = setInterval(poll, POLL)
    }
    show()
  }
}
$$('[data-load]').forEach(load)
if (document.body.dataset.live && topics().length) {
  open()
  setInterval(() => { show(); refresh() }, 5000)
  document.addEventListener('visibilitychange', () => {
    clearTimeout(live.away)
    if (document.hidden) {
      live.away = setTimeout(() => { live.source.close(); clearInterval(live.poll); live.poll = 0 }, HIDDEN)
    } else if (live.source.readyState === EventSource.CLOSED && !live.poll) { live.failures = 0; open() }
  })
}
