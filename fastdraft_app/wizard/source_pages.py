"""Own files, folders and data sets on the wizard's pages about data."""

from __future__ import annotations

from fastdraft_app.wizard.fields import STEPS
from fastdraft_app.wizard.source_dialog import Chosen, SourceScreen
from fastdraft_app.wizard.sources import MIXTURES, put, take_off
from fastdraft_app.wizard.turns import WizardTurns


class WizardSources(WizardTurns):
    """F7 describes a source in the recipe and mixes it in, or takes it off."""

    async def show_page(self) -> None:
        """Build the page of the present step."""
        raise NotImplementedError

    @property
    def mixtures(self) -> tuple[str, ...]:
        """The mixtures that this page asks for."""
        return MIXTURES.get(STEPS[self.step].title, ())

    async def action_sources(self) -> None:
        """Ask which one."""
        await self.ask(lambda: SourceScreen(self.answers, self.mixtures), self._use)

    async def _use(self, chosen: Chosen | None) -> None:
        if chosen is None:
            return
        if chosen.source is None:
            take_off(self.answers, chosen.name)
        else:
            put(self.answers, chosen.name, chosen.source, chosen.path)
        self.answers.keep()
        await self.show_page()
