'use strict'
/* What adding would do, 400 ms after the last key. */
const TYPED = 400
const typed = { timer: 0, number: 0 }
document.addEventListener('input', event => {
  const form = event.target.closest('[data-preview]')
  if (!form || event.target.name !== 'keys') return
  clearTimeout(typed.timer)
  typed.timer = setTimeout(async () => {
    const number = ++typed.number
    const body = new URLSearchParams({ keys: event.target.value, csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value })
    try {
      const answer = await fetch(form.dataset.preview, { method: 'POST', body })
      if (!answer.ok || answer.redirected || number !== typed.number) return
      for (const part of $$('[data-into]', new DOMParser().parseFromString(await answer.text(), 'text/html'))) document.getElementById(part.dataset.into).innerHTML = part.innerHTML
    } catch { /* the button does the same */ }
  }, TYPED)
})
