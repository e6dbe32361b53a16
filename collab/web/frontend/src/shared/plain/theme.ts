// Runs before anything is shown, so that a page never flashes in the wrong colours: the theme that was chosen on this
// device, if one was; else the stylesheets follow the system.

const chosen = localStorage.getItem('collab.theme')
if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen
