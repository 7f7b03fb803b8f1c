/* What a page has besides HTML: copying keys, / for the search, showing a password. Every page works without it. */
'use strict'
const $ = (s, el = document) => el.querySelector(s)
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
document.addEventListener('change', event => {
  if (event.target.matches('[data-submit]')) event.target.form.requestSubmit()
})
document.querySelectorAll('[data-toggle]').forEach(el => { el.hidden = false })
