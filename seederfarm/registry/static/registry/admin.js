/* What unfold's pages lack for people who do not see them: the main landmark, names of regions and of fields. */
'use strict'
{
  const all = (selector, el = document) => [...el.querySelectorAll(selector)]
  const labelOf = field => document.querySelector(`label[for="${field.id}"]`)?.textContent.replace('*', '').trim() || field.name
  function name (field, box) {
    const label = labelOf(field)
    for (const el of all('[role=combobox], [role=textbox], .select2-search__field', box)) {
      el.removeAttribute('aria-labelledby')
      el.setAttribute('aria-label', label)
    }
    all('ul > span', box).forEach(el => el.setAttribute('role', 'listitem'))
  }
  function mend () {
    const main = document.querySelector('#main') || document.querySelector('#page')
    main?.setAttribute('role', 'main')
    all('.simplebar-content-wrapper').forEach((el, at) => el.setAttribute('aria-label', el.closest('#nav-sidebar-apps') ? 'Sections' : `Part ${at} that scrolls`))
    all('span.help-tooltip').forEach(el => el.setAttribute('role', 'img'))
    all('select').forEach(field => {
      const box = field.nextElementSibling
      if (box?.matches('.select2')) name(field, box)
    })
  }
  addEventListener('load', () => {
    mend()
    new MutationObserver(mend).observe(document.body, { childList: true, subtree: true })
  })
}
