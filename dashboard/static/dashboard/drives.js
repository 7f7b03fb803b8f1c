'use strict'
/* Rows that are selected, and the bar with what can be done with them. */
function picked () {
  const bar = $('.bulk')
  if (!bar) return
  const rows = $$('input[name=id][form=bulk]')
  const all = $('[name=all]', bar)
  const count = rows.filter(el => el.checked).length
  bar.classList.toggle('on', count > 0 || Boolean(all?.checked))
  $('[data-picked]', bar).textContent = count
  const head = $('[data-all]')
  if (head) Object.assign(head, { checked: count === rows.length, indeterminate: count > 0 && count < rows.length })
}
document.addEventListener('change', event => {
  if ('all' in event.target.dataset) $$('input[name=id][form=bulk]').forEach(el => { el.checked = event.target.checked })
  if (event.target.type === 'checkbox') picked()
})
document.addEventListener('reset', () => setTimeout(picked))
picked()

/* The row below that of a drive, with its peers and files: one at a time. */
document.addEventListener('click', event => {
  const el = event.target.closest('[data-expand]')
  if (!el) return
  const opens = el.ariaExpanded !== 'true'
  $('.inner')?.remove()
  $$('[data-expand]').forEach(one => { one.ariaExpanded = opens && one === el })
  if (!opens) return
  const row = el.closest('tr')
  row.insertAdjacentHTML('afterend', `<tr class="inner"><td colspan="${row.cells.length}" data-load="${el.dataset.expand}"></td></tr>`)
  load($('.inner td'))
})
